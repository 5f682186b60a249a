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
  context.note_stop(stop);
  if (const auto* forked = std::get_if<target::Forked>(&stop.event)) {
    context.thread_locals[forked->child] = context.thread_locals[context.processes.current()];
  }
  append_stop_reply(context, context.last_stop, reply.text());
  if (std::holds_alternative<target::Exited>(stop.event)) context.end = SessionEnd::kExited;
}

// Which processes a resume is of.
struct Runners {
  Tid stepped;            // whose thread is to be stepped
  std::vector<Tid> pids;  // of those that are continued
};

void run(Context& context, const ResumeRequest& wanted, const Runners& runners, Reply& reply) {
  context.transfer_object.clear();
  if (context.reverse.armed && context.reverse.armed->kind == Armed::Kind::kRefresh) {
    context.reverse.armed.reset();
    return report_stop(context, context.current_stop(), reply);
  }
  const ResumeRequest request = directed(context.reverse, wanted);
  if (request.direction == Direction::kBackward && !context.target().can_go_back()) return;
  // It came while gdb was about to resume once more, as in `stepi 1000`. lldb gets along without.
  const bool stays =
      context.stream.take_late_interrupt() && !context.client.thread_suffix && request.signal == 0;
  if (stays) {
    target::Stop here = context.current_stop();
    here.event = target::Interrupted{};
    return report_stop(context, here, reply);
  }
  context.progress.begin(ProgressReport::Wait::kStop);
  SessionRunControl control(context.stream);
  target::Family* const family = context.processes.family();
  Result<target::Stop> stop =
      family != nullptr ? family->resume({request, runners.stepped, runners.pids}, control)
                        : context.target().resume(request, control);
  if (!stop) {
    // Not the last event once more: a debugger goes on from some by itself.
    target::Stop here = context.current_stop();
    here.event = target::Unsupported{fmt::format("rchk: {}", stop.error().message())};
    stop = std::move(here);
  }
  show_event(context.stream, stop->event);
  const bool interrupted = std::holds_alternative<target::Interrupted>(stop->event);
  context.reverse.interrupted_backward = interrupted && wanted.direction == Direction::kBackward;
  if (interrupted) context.reverse.mode = false;
  report_stop(context, *stop, reply);
}

// The thread of packets that name none. Forward it is the one that stopped last. bc and bs come
// with Hc of any thread, where the one that the user looks at was chosen by Hg or T; or, where gdb
// steps another thread off its breakpoint first, with Hc of that one.
ChosenThread thread_to_run(Context& context, Direction direction) {
  const ChosenThread& chosen = context.resume_thread;
  const Tid process = chosen.process.value != 0 ? chosen.process : context.processes.current();
  if (chosen.thread.value != 0) return {process, chosen.thread};
  const bool stopped = direction == Direction::kForward && context.last_stop.process == process;
  if (stopped) return {process, context.last_stop.thread};
  if (process != context.processes.current()) return {process, Tid{}};
  const Tid meant = context.meant_thread;
  const bool is_there = meant.value != 0 && context.processes.has_thread(process, meant);
  return {process, is_there ? meant : context.thread_for(std::nullopt)};
}

// Those that Hc has named.
Runners runners_of(Context& context, const ChosenThread& thread) {
  const Tid named = context.resume_thread.process;
  return {thread.process, named.value != 0 ? std::vector<Tid>{named} : context.processes.all()};
}

// c, C, s, S: with the signal and the address that they may carry.
void run_with(Context& context, const std::optional<ResumeArguments>& arguments, ResumeKind kind,
              Direction direction, Reply& reply) {
  if (!arguments) return reply.error(PacketError::kMalformed);
  const ChosenThread chosen = thread_to_run(context, Direction::kForward);
  const Tid thread = chosen.thread;
  if (arguments->address) {
    context.select_process({chosen.process.value, ThreadId::kAny});
    Result<Registers> registers = context.target().read_registers(thread);
    if (!registers) return reply.error(PacketError::kFailed);
    registers->rip = arguments->address->value;
    if (!context.target().write_registers(thread, *registers)) {
      return reply.error(PacketError::kFailed);
    }
  }
  ResumeRequest request;
  request.direction = direction;
  request.kind = kind;
  request.thread = thread;
  request.signal = context.linux_signal(arguments->signal);
  run(context, request, runners_of(context, chosen), reply);
}

void run_back(Context& context, ResumeKind kind, Reply& reply) {
  const ChosenThread chosen = thread_to_run(context, Direction::kBackward);
  ResumeRequest request;
  request.direction = Direction::kBackward;
  request.kind = kind;
  request.thread = chosen.thread;
  request.alone = context.resume_thread.thread.value != 0;
  run(context, request, runners_of(context, chosen), reply);
}

}  // namespace

void why_stopped(Context& context, std::string_view, Reply& reply) {
  if (context.waits_for_restart) {
    reply.text() = "W00";
    return;
  }
  report_stop(context, context.current_stop(), reply);
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
  run_back(context, ResumeKind::kContinue, reply);
}

void step_backward(Context& context, std::string_view, Reply& reply) {
  run_back(context, ResumeKind::kStep, reply);
}

// One thread may be stepped while others are continued. All of a process's run, as the recording
// says: what counts is which one is stepped, and which processes are meant.
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
  Runners runners{context.processes.process_of(chosen->thread), {}};
  if (!context.processes.has(runners.stepped)) return reply.error(PacketError::kNoThread);
  for (const ResumeAction& action : *actions) {
    if (action.kind != Kind::kContinue) continue;
    const std::vector<Tid> named =
        action.thread.pid > 0 || action.thread.single()
            ? std::vector<Tid>{context.processes.process_of(action.thread)}
            : context.processes.all();
    runners.pids.insert(runners.pids.end(), named.begin(), named.end());
  }
  ResumeRequest request;
  const bool current = runners.stepped == context.processes.current();
  request.thread =
      chosen->thread.single().value_or(current ? context.thread_for(std::nullopt) : Tid{});
  request.alone = actions->size() == 1 && chosen->thread.single().has_value();
  request.signal = context.linux_signal(chosen->signal);
  if (chosen->kind == Kind::kStep) request.kind = ResumeKind::kStep;
  if (chosen->kind == Kind::kRangeStep) {
    request.kind = ResumeKind::kRangeStep;
    request.range = chosen->range;
  }
  run(context, request, runners, reply);
}

void resume_actions(Context&, std::string_view, Reply& reply) {
  // t is for non-stop mode, but gdb takes vCont for unknown when it is not offered.
  reply.text() = "vCont;c;C;s;S;t;r";
}

void extended_mode(Context& context, std::string_view, Reply& reply) {
  if (context.target().restart() == nullptr) return;
  context.extended = true;
  reply.ok();
}

// A recording has one program and one list of arguments: `run` goes back to its start.
void restart(Context& context, std::string_view, Reply& reply) {
  target::Restart* restart = context.target().restart();
  if (restart == nullptr) return;
  if (const Tid killed = std::exchange(context.killed, Tid{}); killed.value != 0) {
    if (!context.processes.family()->attach_again(killed)) {
      return reply.error(PacketError::kFailed);
    }
    context.select_process({killed.value, ThreadId::kAny});
    restart = context.target().restart();
  }
  Result<target::Stop> stop = restart->restart_program();
  if (!stop) return reply.error(PacketError::kFailed);
  stop->process = context.processes.current();
  context.waits_for_restart = false;
  context.reverse = {};
  context.transfer_object.clear();
  report_stop(context, *stop, reply);
}

void kill(Context& context, std::string_view, Reply& reply) {
  // Its failure changes nothing: the debugger does not wait for a reply, lldb apart.
  (void)context.processes.first().kill();
  context.end = SessionEnd::kKilled;
  if (context.client.thread_suffix) {
    reply.text() = "X09";
  } else {
    reply.suppress();
  }
}

void kill_process(Context& context, std::string_view arguments, Reply& reply) {
  const auto pid = parse_number(arguments);
  if (!pid || *pid > INT32_MAX) return reply.error(PacketError::kMalformed);
  const Tid process{static_cast<int32_t>(*pid)};
  if (!context.processes.has(process)) return reply.error(PacketError::kNoThread);
  reply.ok();
  if (context.processes.all().size() > 1) {
    if (!context.detach_process(process)) return reply.error(PacketError::kFailed);
    if (context.extended) context.killed = process;
    return;
  }
  if (context.extended) {
    // gdb's `run` kills first: the target is kept for the vRun that follows.
    context.waits_for_restart = true;
    return;
  }
  (void)context.processes.first().kill();
  context.end = SessionEnd::kKilled;
}

// `[;pid]`: one process; the last one ends the session.
void detach(Context& context, std::string_view arguments, Reply& reply) {
  if (arguments.starts_with(';')) arguments.remove_prefix(1);
  if (!arguments.empty() && context.processes.all().size() > 1) {
    const auto pid = parse_number(arguments);
    if (!pid || *pid > INT32_MAX) return reply.error(PacketError::kMalformed);
    const Tid process{static_cast<int32_t>(*pid)};
    if (!context.processes.has(process)) return reply.error(PacketError::kNoThread);
    if (!context.detach_process(process)) return reply.error(PacketError::kFailed);
    return reply.ok();
  }
  if (!context.processes.first().detach()) return reply.error(PacketError::kFailed);
  context.end = SessionEnd::kDetached;
  reply.ok();
}

// `signal[;signal]...`
void pass_signals(Context& context, std::string_view arguments, Reply& reply) {
  target::SignalPolicy* policy = context.target().signal_policy();
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
  // Said of all processes, unlike what is said of breakpoints and system calls.
  target::Family* const family = context.processes.family();
  for (const Tid pid : context.processes.all()) {
    if (family == nullptr || pid == context.processes.current()) continue;
    policy = family->process(pid)->signal_policy();
    if (policy != nullptr) policy->set_silent_signals(signals);
  }
  reply.ok();
}

// Which signals the program may get: the recording says so already.
void program_signals(Context&, std::string_view, Reply& reply) { reply.ok(); }

// `0`, or `1[;number]...`
void catch_syscalls(Context& context, std::string_view arguments, Reply& reply) {
  target::SyscallCatching* catching = context.target().syscall_catching();
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
