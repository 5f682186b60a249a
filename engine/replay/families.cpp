#include "engine/replay/families.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <variant>

namespace rchk::replay {

using trace::ProcessIndex;

namespace {

// What an event changes in an address space.
const std::vector<trace::AddressSpaceChange>& changes_of(const trace::Event& event) {
  static const std::vector<trace::AddressSpaceChange> kNone;
  if (const auto* call = std::get_if<trace::SyscallEvent>(&event.body)) return call->changes;
  if (const auto* memory = std::get_if<trace::MemoryEvent>(&event.body)) return memory->changes;
  return kNone;
}

// Sets of numbers that grow together.
class Unions {
 public:
  size_t find(size_t number) {
    while (parents_.size() <= number) parents_.push_back(parents_.size());
    while (parents_[number] != number) {
      parents_[number] = parents_[parents_[number]];
      number = parents_[number];
    }
    return number;
  }
  void join(size_t a, size_t b) {
    const size_t of_a = find(a), of_b = find(b);
    parents_[std::max(of_a, of_b)] = std::min(of_a, of_b);
  }

 private:
  std::vector<size_t> parents_;
};

// Finds out which processes are kin.
class Kin {
 public:
  explicit Kin(trace::EventSource& recording) : recording_(recording) {}

  Result<void> add(const trace::Event& event, ProcessIndex process,
                   const trace::ProcessTable& table) {
    const auto* spawn = std::get_if<trace::SpawnEvent>(&event.body);
    if (spawn != nullptr && spawn->kind == trace::SpawnKind::kFork) {
      const ProcessIndex parent = *table.process(process).memory_from;
      unions_.join(process.value, parent.value);
      for (const View& view : std::vector<View>(views_[parent.value])) add(process, view);
    }
    if (const auto* exec = std::get_if<trace::ExecEvent>(&event.body)) {
      for (const snapshot::Mapping& mapping : exec->mappings) RCHK_TRY(add(process, mapping));
    }
    for (const trace::AddressSpaceChange& change : changes_of(event)) {
      if (const auto* map = std::get_if<trace::MapChange>(&change)) {
        RCHK_TRY(add(process, map->mapping));
      } else if (const auto* moved = std::get_if<trace::RemapChange>(&change)) {
        for (const View& view : std::vector<View>(views_[process.value])) {
          if (view.range.overlaps(moved->from)) add(process, {moved->to, view.file});
        }
      } else if (const auto* protect = std::get_if<trace::ProtectChange>(&change)) {
        if ((protect->protection & snapshot::kWrite) == 0) continue;
        for (const View& view : views_[process.value]) {
          if (view.range.overlaps(protect->range)) stored_to_.insert(view.file);
        }
      }
    }
    return {};
  }
  // Behind all events: who shares memory that one of them may have stored to.
  void join_users() {
    for (const File& file : stored_to_) {
      const std::set<size_t>& users = users_[file];
      if (users.size() > 1) sharing_.insert(users.begin(), users.end());
      for (const size_t user : users) unions_.join(*users.begin(), user);
    }
  }
  bool shares(size_t process) const { return sharing_.contains(process); }
  // A number that all of a process's kin have.
  size_t founder_of(size_t process) { return unions_.find(process); }

 private:
  using File = std::pair<uint64_t, uint64_t>;  // device and inode; zeros: memory without a name
  // Where a process has, or had, a shared mapping.
  struct View {
    AddressRange range;
    File file;
  };

  Result<void> add(ProcessIndex process, const snapshot::Mapping& mapping) {
    if (!mapping.shared) return {};
    File file{};
    if (mapping.backing) {
      RCHK_TRY_ASSIGN(const trace::FileInfo info, recording_.file_info(mapping.backing->file));
      file = {info.device, info.inode};
    }
    add(process, {mapping.range, file});
    if (!mapping.backing || mapping.writable()) stored_to_.insert(file);
    return {};
  }
  void add(ProcessIndex process, const View& view) {
    users_[view.file].insert(process.value);
    views_[process.value].push_back(view);
  }

  trace::EventSource& recording_;
  Unions unions_;
  std::map<size_t, std::vector<View>> views_;  // by process
  std::map<File, std::set<size_t>> users_;
  std::set<File> stored_to_;
  std::set<size_t> sharing_;  // what somebody stores to
};

}  // namespace

Result<std::shared_ptr<const trace::Event>> Strand::event(EventNumber number) {
  if (number.value < runs_.size()) return recording_.event(runs_.at(number.value));
  return fail(ErrorKind::kMisuse,
              fmt::format("event {} was asked for; the process has {}", number, runs_.size()));
}

EventNumber Strand::global_number(EventNumber number) const {
  return number.value < runs_.size() ? runs_.at(number.value)
                                     : EventNumber{recording_.event_count()};
}

std::optional<EventNumber> Strand::local_number(EventNumber global) const {
  const std::optional<uint64_t> index = runs_.find(global);
  return index ? std::optional(EventNumber{*index}) : std::nullopt;
}

Result<Families> Families::of(trace::EventSource& recording, bool as_one) {
  const uint64_t count = recording.event_count();
  trace::SnapshotSource* const snapshots = recording.snapshots();
  const std::vector<EventNumber> beginnings =
      snapshots == nullptr ? std::vector<EventNumber>() : snapshots->beginnings();
  const auto tasks = recording.task_count();
  Families sorted;
  Kin kin(recording);
  const bool is_of_one = tasks && tasks->processes == 1;
  if (!is_of_one) sorted.table_.emplace();
  size_t passed = 0;  // of the beginnings
  for (EventNumber number{0}; number.value < count; number = number.next()) {
    bool begins = false;
    for (; passed < beginnings.size() && beginnings[passed] <= number; ++passed) begins = true;
    if (is_of_one) {
      sorted.add(recording, ProcessIndex{0}, number, begins);
      continue;
    }
    RCHK_TRY_ASSIGN(const auto event, recording.event(number));
    RCHK_TRY_ASSIGN(const trace::ProcessTable::Owners owners, sorted.table_->add(*event));
    if (owners.left) sorted.add(recording, *owners.left, number, begins);
    sorted.add(recording, owners.memory, number, begins);
    RCHK_TRY(kin.add(*event, owners.memory, *sorted.table_));
  }
  kin.join_users();
  std::map<size_t, size_t> families;  // by what stands for one among its kin
  for (size_t process = 0; process < sorted.processes(); ++process) {
    const auto [family, is_new] =
        families.try_emplace(as_one ? 0 : kin.founder_of(process), families.size());
    if (is_new) sorted.families_.emplace_back();
    sorted.family_of_.push_back(family->second);
    sorted.families_[family->second].is_of_one_process = is_new;
    sorted.families_[family->second].stores_to_shared_memory |= kin.shares(process);
  }
  for (const Step& step : sorted.steps_) {
    sorted.families_[sorted.family_of(step.process)].steps.push_back(step);
  }
  return sorted;
}

void Families::add(trace::EventSource& recording, ProcessIndex process, EventNumber event,
                   bool begins) {
  while (strands_.size() <= process.value) strands_.push_back(std::make_unique<Strand>(recording));
  trace::EventRuns& runs = strands_[process.value]->runs();
  runs.add(event);
  if (steps_.empty() || steps_.back().process != process || begins) steps_.push_back({process, 0});
  steps_.back().last = runs.size() - 1;
}

std::optional<EventNumber> Families::program_end(ProcessIndex process, EventNumber last) const {
  if (!table_) return strand(process).global_number(last);
  const trace::Process& ended = table_->process(process);
  if (ended.origin != trace::ProcessOrigin::kFirst) return std::nullopt;
  // Others may have gone on in its memory.
  return ended.end ? ended.end->event : strand(process).global_number(last);
}

std::optional<ProcessIndex> Families::owner_of(uint32_t space) const {
  if (!table_) return ProcessIndex{0};
  const auto owner = table_->spaces().find(space);
  return owner == table_->spaces().end() ? std::nullopt : std::optional(owner->second);
}

}  // namespace rchk::replay
