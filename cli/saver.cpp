#include "cli/saver.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <future>
#include <list>
#include <memory>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/recorder_socket.h"

namespace rchk::cli {

namespace {

// Where the signal's handler says that there was one.
std::atomic<int> signal_pipe{-1};

void on_signal(int) {
  const int error = errno;
  if (const int pipe = signal_pipe.load(); pipe >= 0) {
    const char byte = 0;
    if (write(pipe, &byte, 1) < 0) errno = 0;  // full: enough was asked for
  }
  errno = error;
}

// Only who may look into this process anyway.
bool is_allowed(const FileDescriptor& client) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(client.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == 0 || peer.uid == geteuid();
}

// One that says nothing must not keep the recorder from its end.
bool is_bounded(const FileDescriptor& client) {
  const timeval longest{5, 0};
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (setsockopt(client.get(), SOL_SOCKET, option, &longest, sizeof longest) != 0) return false;
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<Saver>> Saver::start(trace::TraceWriter& writer, std::string path) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error);
  if (!error) path = absolute.string();
  std::unique_ptr<Saver> saver(new Saver(writer, std::move(path)));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return fail_errno("pipe2");
  saver->requests_ = FileDescriptor(ends[0]);
  saver->wakes_ = FileDescriptor(ends[1]);
  // Without it SIGUSR1 is left.
  if (auto socket = listen_as_recorder()) saver->socket_ = std::move(*socket);
  // Signals are the recording thread's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  saver->thread_ = std::thread([&self = *saver] { self.work(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  signal_pipe = ends[1];
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  return saver;
}

Saver::~Saver() {
  signal_pipe = -1;
  wakes_.reset();
  if (thread_.joinable()) thread_.join();
}

// Answers each by a thread of its own: a copy may take long to write, and whoever asks next is to
// hear meanwhile that there is a recorder.
void Saver::work() {
  std::list<std::future<void>> under_way;
  const auto begin = [&](auto task) {
    constexpr std::chrono::seconds kNow(0);
    under_way.remove_if([&](const std::future<void>& one) {
      return one.wait_for(kNow) == std::future_status::ready;
    });
    const auto shared = std::make_shared<decltype(task)>(std::move(task));
    try {
      under_way.push_back(std::async(std::launch::async, [shared] { (*shared)(); }));
    } catch (const std::system_error&) {  // there may be no more threads: then others wait
      (*shared)();
    }
  };
  for (;;) {
    pollfd waits[] = {{requests_.get(), POLLIN, 0}, {socket_.get(), POLLIN, 0}};
    if (poll(waits, std::size(waits), -1) < 0 && errno != EINTR) return;
    if ((waits[1].revents & POLLIN) != 0) {
      FileDescriptor client(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (client.is_open() && is_allowed(client) && is_bounded(client)) {
        begin([this, peer = std::move(client)] { answer(peer); });
      }
    }
    if (waits[0].revents == 0) continue;
    char bytes[64];
    const ssize_t got = read(requests_.get(), bytes, sizeof bytes);
    if (got == 0) return;  // the other end was closed
    if (got < 0) continue;
    begin([this] {
      const auto saved = save({});
      fmt::print(stderr, "rchk: {}\n", saved ? "saved " + *saved : saved.error().message());
    });
  }
}

void Saver::answer(const FileDescriptor& client) {
  const auto request = receive_all(client);
  if (!request) return;
  constexpr std::string_view kSave = "save";
  std::string text;
  if (*request == "path") {
    text = fmt::format("{} {}", guest_.load(), path_);
  } else if (request->starts_with(kSave)) {
    const std::string file =
        request->size() > kSave.size() ? request->substr(kSave.size() + 1) : std::string();
    const auto saved = save(file);
    text = saved ? "saved " + *saved : "error " + saved.error().message();
  } else {
    text = "error an unknown request";
  }
  static_cast<void>(send_all(client, text));
}

Result<std::string> Saver::save(const std::string& file) {
  const std::lock_guard one_at_a_time(saving_);
  if (!file.empty()) {
    RCHK_TRY(writer_.save(file));
    return file;
  }
  const std::filesystem::path path(path_);
  for (unsigned number = 1;; ++number) {
    const std::string name =
        fmt::format("{}-saved-{}{}", path.stem().string(), number, path.extension().string());
    std::string beside = (path.parent_path() / name).string();
    const Result<void> saved = writer_.save(beside);
    if (saved) return beside;
    if (saved.error().errno_value != EEXIST) return Failure(saved.error());
  }
}

}  // namespace rchk::cli
