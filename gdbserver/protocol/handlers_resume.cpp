#include <algorithm>
#include <utility>

#include "gdbserver/protocol/handlers.h"
#include "gdbserver/protocol/hex.h"
#include "gdbserver/protocol/run_control.h"
#include "gdbserver/protocol/stop_reply.h"

namespace rchk::protocol::handlers {
namespace {

using target::Direction;
using target::ResumeKind;
using target::ResumeRequest;

// Lets the reverse mode, or what was armed, have its say.
ResumeRequest directed(ReverseControl& reverse, ResumeRequest request) {
  const std::optional<Armed> armed = std::exchange(reverse.armed, std::nullopt);
  reverse.unknown_to_debugger = reverse.mode || armed.has_value();
  if (reverse.unknown_to_debugger) request.direction = Direction::kBackward;
  if (armed && armed->kind == Armed::Kind::kRangeBack) {
    request.kind = ResumeKind::kRangeStep;
    request.range = armed->range;
  }
  return request;
}

// Says what a stop reply has no words for.
void show_event(PacketStream& stream, const target::StopEvent& event) {
  if (const auto* exiting = std::get_if<target::Exiting>(&event)) {
    (void)stream.send_console(exiting->status_text + "\n");
  } else if (const auto* unsupported = std::get_if<target::Unsupported>(&event)) {
    (void)stream.send_console(unsupported->reason + "\n");
  }
}

// Takes note of where the target stands now, and reports it.
void report_stop(Context& context, const target::Stop& stop, Reply& reply) {
  context.last_stop = stop;
  // So do debuggers.
  context.general_thread = stop.thread;
  append_stop_reply(context, stop, reply.text());
  if (std::holds_alternative<target::Exited>(stop.event)) context.end = SessionEnd::kExited;
}

void run(Context& context, const ResumeRequest& wanted, Reply& reply) {
  context.transfer_object.clear();
  if (context.reverse.armed && context.reverse.armed->kind == Armed::Kind::kRefresh) {
    context.reverse.armed.reset();
    return report_stop(context, context.target.current_stop(), reply);
  }
  const ResumeRequest request = directed(context.reverse, wanted);
  if (request.direction == Direction::kBackward && !context.target.can_go_back()) return;
  SessionRunControl control(context.stream);
  Result<target::Stop> stop = context.target.resume(request, control);
  if (!stop) {
    (void)context.stream.send_console(fmt::format("rchk: {}\n", stop.error().message()));
    stop = context.target.current_stop();
  }
  show_event(context.stream, stop->event);
  const bool interrupted = std::holds_alternative<target::Interrupted>(stop->event);
  context.reverse.interrupted_backward = interrupted && wanted.direction == Direction::kBackward;
  if (interrupted) context.reverse.mode = false;
  report_stop(context, *stop, reply);
}

Tid thread_to_resume(const Context& context) {
  return context.resume_thread.value != 0 ? context.resume_thread : context.last_stop.thread;
}

// bc and bs come with Hc of any thread, where the one that the user looks at was chosen by Hg; or,
// where gdb steps another thread off its breakpoint first, with Hc of that one.
Tid thread_to_reverse(const Context& context) {
  return context.resume_thread.value != 0 ? context.resume_thread
                                          : context.thread_for(std::nullopt);
}

// c, C, s, S: with the signal and the address that they may carry.
void run_with(Context& context, const std::optional<ResumeArguments>& arguments, ResumeKind kind,
              Direction direction, Reply& reply) {
  if (!arguments) return reply.error(PacketError::kMalformed);
  const Tid thread = thread_to_resume(context);
  if (arguments->address) {
    Result<Registers> registers = context.target.read_registers(thread);
    if (!registers) return reply.error(PacketError::kFailed);
    registers->rip = arguments->address->value;
    if (!context.target.write_registers(thread, *registers)) {
      return reply.error(PacketError::kFailed);
    }
  }
  ResumeRequest request;
  request.direction = direction;
  request.kind = kind;
  request.thread = thread;
  request.signal = context.linux_signal(arguments->signal);
  run(context, request, reply);
}

}  // namespace

void why_stopped(Context& context, std::string_view, Reply& reply) {
  if (context.waits_for_restart) {
    reply.text() = "W00";
    return;
  }
  report_stop(context, context.target.current_stop(), reply);
}

void continue_forward(Context& context, std::string_view arguments, Reply& reply) {
  const bool goes_on_backward = context.reverse.interrupted_backward && arguments.empty();
  run_with(context, parse_resume_arguments(arguments, false), ResumeKind::kContinue,
           goes_on_backward ? Direction::kBackward : Direction::kForward, reply);
}

void continue_with_signal(Context& context, std::string_view arguments, Reply& reply) {
  run_with(context, parse_resume_arguments(arguments, true), ResumeKind::kContinue,
           Direction::kForward, reply);
}

void step_forward(Context& context, std::string_view arguments, Reply& reply) {
  run_with(context, parse_resume_arguments(arguments, false), ResumeKind::kStep,
           Direction::kForward, reply);
}

void step_with_signal(Context& context, std::string_view arguments, Reply& reply) {
  run_with(context, parse_resume_arguments(arguments, true), ResumeKind::kStep, Direction::kForward,
           reply);
}

void continue_backward(Context& context, std::string_view, Reply& reply) {
  ResumeRequest request;
  request.direction = Direction::kBackward;
  request.thread = thread_to_reverse(context);
  run(context, request, reply);
}

void step_backward(Context& context, std::string_view, Reply& reply) {
  ResumeRequest request;
  request.direction = Direction::kBackward;
  request.kind = ResumeKind::kStep;
  request.thread = thread_to_reverse(context);
  run(context, request, reply);
}

// One thread may be stepped while others are continued. All of them run, as the recording says:
// what counts is which one is stepped.
void resume(Context& context, std::string_view arguments, Reply& reply) {
  const auto actions = parse_resume_actions(arguments);
  if (!actions) return reply.error(PacketError::kMalformed);
  const auto is = [](ResumeAction::Kind kind) {
    return [kind](const ResumeAction& action) { return action.kind == kind; };
  };
  using Kind = ResumeAction::Kind;
  auto chosen = std::find_if(actions->begin(), actions->end(), [&](const ResumeAction& action) {
    return is(Kind::kStep)(action) || is(Kind::kRangeStep)(action);
  });
  if (chosen == actions->end()) {
    chosen = std::find_if(actions->begin(), actions->end(), is(Kind::kContinue));
  }
  // Only vCont;t, which is for non-stop mode.
  if (chosen == actions->end()) return reply.error(PacketError::kMalformed);
  ResumeRequest request;
  request.thread = chosen->thread.single().value_or(context.thread_for(std::nullopt));
  request.signal = context.linux_signal(chosen->signal);
  if (chosen->kind == Kind::kStep) request.kind = ResumeKind::kStep;
  if (chosen->kind == Kind::kRangeStep) {
    request.kind = ResumeKind::kRangeStep;
    request.range = chosen->range;
  }
  run(context, request, reply);
}

void resume_actions(Context&, std::string_view, Reply& reply) {
  // t is for non-stop mode, but gdb takes vCont for unknown when it is not offered.
  reply.text() = "vCont;c;C;s;S;t;r";
}

void extended_mode(Context& context, std::string_view, Reply& reply) {
  if (context.target.restart() == nullptr) return;
  context.extended = true;
  reply.ok();
}

// A recording has one program and one list of arguments: `run` goes back to its start.
void restart(Context& context, std::string_view, Reply& reply) {
  target::Restart* restart = context.target.restart();
  if (restart == nullptr) return;
  const Result<target::Stop> stop = restart->restart_program();
  if (!stop) return reply.error(PacketError::kFailed);
  context.waits_for_restart = false;
  context.reverse = {};
  context.transfer_object.clear();
  report_stop(context, *stop, reply);
}

void kill(Context& context, std::string_view, Reply& reply) {
  // Its failure changes nothing: the debugger does not wait for a reply, lldb apart.
  (void)context.target.kill();
  context.end = SessionEnd::kKilled;
  if (context.client.thread_suffix) {
    reply.text() = "X09";
  } else {
    reply.suppress();
  }
}

void kill_process(Context& context, std::string_view arguments, Reply& reply) {
  const auto pid = parse_number(arguments);
  if (!pid) return reply.error(PacketError::kMalformed);
  if (*pid != static_cast<uint64_t>(context.target.process().value)) {
    return reply.error(PacketError::kNoThread);
  }
  reply.ok();
  if (context.extended) {
    // gdb's `run` kills first: the target is kept for the vRun that follows.
    context.waits_for_restart = true;
    return;
  }
  (void)context.target.kill();
  context.end = SessionEnd::kKilled;
}

void detach(Context& context, std::string_view, Reply& reply) {
  if (!context.target.detach()) return reply.error(PacketError::kFailed);
  context.end = SessionEnd::kDetached;
  reply.ok();
}

// `signal[;signal]...`
void pass_signals(Context& context, std::string_view arguments, Reply& reply) {
  target::SignalPolicy* policy = context.target.signal_policy();
  if (policy == nullptr) return;
  std::vector<int> signals;
  PacketCursor cursor(arguments);
  while (!cursor.at_end()) {
    const auto number = parse_number(cursor.field(';'));
    if (!number || *number > 0xff) return reply.error(PacketError::kMalformed);
    const int signal = context.linux_signal(static_cast<int>(*number));
    if (signal != 0) signals.push_back(signal);
  }
  policy->set_silent_signals(signals);
  reply.ok();
}

// Which signals the program may get: the recording says so already.
void program_signals(Context&, std::string_view, Reply& reply) { reply.ok(); }

// `0`, or `1[;number]...`
void catch_syscalls(Context& context, std::string_view arguments, Reply& reply) {
  target::SyscallCatching* catching = context.target.syscall_catching();
  if (catching == nullptr) return;
  PacketCursor cursor(arguments);
  const std::string_view enabled = cursor.field(';');
  if (enabled == "0" && cursor.at_end()) {
    catching->set_caught_syscalls(std::nullopt);
    return reply.ok();
  }
  if (enabled != "1") return reply.error(PacketError::kMalformed);
  std::vector<int> numbers;
  while (!cursor.at_end()) {
    const auto number = parse_number(cursor.field(';'));
    if (!number || *number > INT32_MAX) return reply.error(PacketError::kMalformed);
    numbers.push_back(static_cast<int>(*number));
  }
  catching->set_caught_syscalls(numbers);
  reply.ok();
}

}  // namespace rchk::protocol::handlers
