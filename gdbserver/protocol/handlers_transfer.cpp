#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "gdbserver/protocol/handlers.h"
#include "gdbserver/protocol/hex.h"

namespace rchk::protocol::handlers {
namespace {

std::string escaped_xml(std::string_view text) {
  std::string out;
  for (const char symbol : text) {
    switch (symbol) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out.push_back(symbol);
    }
  }
  return out;
}

std::string threads_document(Context& context) {
  std::string out = "<?xml version=\"1.0\"?>\n<threads>\n";
  if (!context.waits_for_restart) {
    for (const Tid process : context.processes.all()) {
      for (const target::ThreadInfo& thread : context.processes.threads(process)) {
        std::string id;
        context.append_thread_id(id, process, thread.tid);
        out += fmt::format("<thread id=\"{}\" name=\"{}\"/>\n", id, escaped_xml(thread.name));
      }
    }
  }
  return out + "</threads>\n";
}

Result<std::string> libraries_document(target::Libraries& libraries) {
  RCHK_TRY_ASSIGN(const target::LibraryList list, libraries.library_list());
  std::string out = "<library-list-svr4 version=\"1.0\"";
  if (list.main_link_map) out += fmt::format(" main-lm=\"{}\"", *list.main_link_map);
  out += ">\n";
  for (const target::Library& one : list.entries) {
    out += fmt::format("<library name=\"{}\" lm=\"{}\" l_addr=\"{:#x}\" l_ld=\"{}\"/>\n",
                       escaped_xml(one.path), one.link_map, one.load_bias, one.dynamic_section);
  }
  return out + "</library-list-svr4>\n";
}

Result<std::string> text_or_error(Result<Bytes> bytes) {
  if (!bytes) return tl::make_unexpected(bytes.error());
  return std::string(text_of(*bytes));
}

// The process whose pid `annex` is; the current one where it is empty.
target::Target* process_in(Context& context, std::string_view annex) {
  if (annex.empty()) return &context.target();
  const auto pid = parse_number(annex);
  if (!pid || *pid > INT32_MAX) return nullptr;
  const Tid process{static_cast<int32_t>(*pid)};
  if (process == context.processes.current()) return &context.target();
  target::Family* const family = context.processes.family();
  return family != nullptr ? family->process(process) : nullptr;
}

// Nothing: there is no such object here. An object that was offered gives an error when it cannot
// be had: gdb takes the empty reply for a contradiction then.
std::optional<Result<std::string>> contents_of(Context& context, const Transfer& transfer) {
  target::Target& target = context.target();
  if (transfer.object == "features") {
    if (transfer.annex == "target.xml") return target_description(context.registers);
    return Result<std::string>(fail(ErrorKind::kMisuse, "no such annex"));
  }
  if (transfer.object == "threads") return threads_document(context);
  if (transfer.object == "auxv" && target.auxiliary_vector() != nullptr) {
    return text_or_error(target.auxiliary_vector()->auxiliary_vector_bytes());
  }
  if (transfer.object == "exec-file" && target.executable_file() != nullptr) {
    target::Target* const process = process_in(context, transfer.annex);
    if (process == nullptr || process->executable_file() == nullptr) {
      return Result<std::string>(fail(ErrorKind::kGone, "no such process"));
    }
    return process->executable_file()->executable_path();
  }
  if (transfer.object == "siginfo" && target.siginfo() != nullptr) {
    return text_or_error(target.siginfo()->read_siginfo(context.thread_for(std::nullopt)));
  }
  if (transfer.object == "libraries-svr4" && target.libraries() != nullptr) {
    return libraries_document(*target.libraries());
  }
  return std::nullopt;
}

void write_siginfo(Context& context, const Transfer& transfer, Reply& reply) {
  target::Siginfo* siginfo = context.target().siginfo();
  if (siginfo == nullptr || transfer.object != "siginfo") return;
  const Tid thread = context.thread_for(std::nullopt);
  Result<Bytes> bytes = siginfo->read_siginfo(thread);
  if (!bytes) return reply.error(PacketError::kFailed);
  const ByteView data = bytes_of(transfer.data);
  if (transfer.offset > bytes->size() || data.size() > bytes->size() - transfer.offset) {
    return reply.error(PacketError::kMalformed);
  }
  std::copy(data.begin(), data.end(), bytes->begin() + static_cast<ptrdiff_t>(transfer.offset));
  if (!siginfo->write_siginfo(thread, *bytes)) return reply.error(PacketError::kFailed);
  context.transfer_object.clear();
  append_number(reply.text(), data.size());
}

}  // namespace

// `object:read:annex:offset,length`: a part of the object, after m, or l for the last one.
void transfer(Context& context, std::string_view arguments, Reply& reply) {
  const auto request = parse_transfer(arguments);
  if (!request) return reply.error(PacketError::kMalformed);
  if (request->write) return write_siginfo(context, *request, reply);
  const std::string object = fmt::format("{}:{}", request->object, request->annex);
  if (request->offset == 0 || object != context.transfer_object) {
    std::optional<Result<std::string>> contents = contents_of(context, *request);
    if (!contents) return;
    if (!*contents) return reply.error(PacketError::kFailed);
    context.transfer_object = object;
    context.transfer_contents = std::move(**contents);
  }
  const ByteView all = bytes_of(context.transfer_contents);
  if (request->offset > all.size()) return reply.error(PacketError::kMalformed);
  // Each byte may need two.
  const uint64_t most = std::min<uint64_t>(request->length, kMaxPacketBytes / 2 - 16);
  const ByteView part =
      all.subspan(request->offset).first(std::min<uint64_t>(most, all.size() - request->offset));
  std::string& out = reply.binary();
  out.push_back(request->offset + part.size() == all.size() ? 'l' : 'm');
  append_escaped(out, part);
}

}  // namespace rchk::protocol::handlers
