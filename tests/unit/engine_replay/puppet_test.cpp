#include "engine/replay/puppet.h"

#include <algorithm>
#include <csignal>

#include <sys/resource.h>

#include "engine/trace/event_log.h"

#include "puppets.h"

namespace rchk::replay::test {
namespace {

constexpr uint64_t kArenaBytes = 64 << 20;

TEST(Puppet, HoldsNothingAtFirst) {
  const auto puppet = new_puppet();
  EXPECT_TRUE(puppet->space().mappings().empty());
  EXPECT_EQ("", got(*puppet, kPlace, 8));
  // Its own page is no memory of the guest.
  EXPECT_EQ("", got(*puppet, kGadgetPage, 8));
}

TEST(Puppet, MapsAnonymousMemoryOfZeros) {
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(anonymous(pages(0, 2)), {}));
  EXPECT_EQ(std::string(4, '\0'), got(*puppet, page(1), 4));
  put(*puppet, page(1) - 2, "over the border");
  EXPECT_EQ("over the border", got(*puppet, page(1) - 2, 15));
  // As much as there is.
  EXPECT_EQ(4u, got(*puppet, page(2) - 4, 100).size());
}

TEST(Puppet, MapsOverWhatIsThere) {
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(anonymous(pages(0, 3)), {}));
  put(*puppet, page(0), "first");
  put(*puppet, page(1), "second");
  EXPECT_DONE(puppet->map(anonymous(pages(1, 1)), {}));
  EXPECT_EQ("first", got(*puppet, page(0), 5));
  EXPECT_EQ(std::string(6, '\0'), got(*puppet, page(1), 6));
}

TEST(Puppet, WritesWhatTheGuestMayNot) {
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(anonymous(pages(0, 1), PROT_READ), {}));
  EXPECT_DONE(puppet->map(anonymous(pages(1, 1), PROT_NONE), {}));
  put(*puppet, page(0), "read only");
  put(*puppet, page(1), "no access");
  EXPECT_EQ("read only", got(*puppet, page(0), 9));
  EXPECT_EQ("no access", got(*puppet, page(1), 9));
}

TEST(Puppet, UnmapsAPartOfAMapping) {
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(anonymous(pages(0, 3)), {}));
  put(*puppet, page(2), "left");
  EXPECT_DONE(puppet->unmap_guest(pages(1, 1)));
  EXPECT_EQ(kPageSize, got(*puppet, page(0), 3 * kPageSize).size());
  EXPECT_EQ(nullptr, puppet->space().find(page(1)));
  EXPECT_EQ("left", got(*puppet, page(2), 4));
}

TEST(Puppet, ProtectsInTheProcessAndInItsBooks) {
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(anonymous(pages(0, 3)), {}));
  EXPECT_DONE(puppet->protect(pages(1, 1), PROT_READ | PROT_EXEC));
  const auto maps = value_of(snapshot::read_proc_maps(puppet->pid()));
  EXPECT_EQ(PROT_READ | PROT_WRITE, mapped_at(maps, page(0))->protection);
  EXPECT_EQ(PROT_READ | PROT_EXEC, mapped_at(maps, page(1))->protection);
  EXPECT_EQ(PROT_READ | PROT_EXEC, puppet->space().find(page(1))->protection);
}

TEST(Puppet, MovesAndGrowsMappings) {
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(anonymous(pages(0, 2)), {}));
  put(*puppet, page(1), "moved");
  EXPECT_DONE(puppet->remap({pages(0, 2), pages(10, 4), false}));
  EXPECT_EQ("", got(*puppet, page(1), 5));
  EXPECT_EQ("moved", got(*puppet, page(11), 5));
  EXPECT_EQ(std::string(4, '\0'), got(*puppet, page(13), 4));
  // In place: the kernel refuses MREMAP_FIXED for that.
  EXPECT_DONE(puppet->remap({pages(10, 4), pages(10, 2), false}));
  EXPECT_EQ("", got(*puppet, page(12), 1));
  EXPECT_DONE(puppet->remap({pages(10, 2), pages(20, 2), true}));
  EXPECT_EQ("moved", got(*puppet, page(21), 5));
  EXPECT_EQ(std::string(5, '\0'), got(*puppet, page(11), 5));
}

TEST(Puppet, DiscardsToZeros) {
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(anonymous(pages(0, 2)), {}));
  put(*puppet, page(0), "stays");
  put(*puppet, page(1), "goes");
  EXPECT_DONE(puppet->discard(pages(1, 1)));
  EXPECT_EQ("stays", got(*puppet, page(0), 5));
  EXPECT_EQ(std::string(4, '\0'), got(*puppet, page(1), 4));
}

TEST(Puppet, SaysWhenTheKernelRefuses) {
  const auto puppet = new_puppet();
  const auto protect = puppet->protect(pages(0, 1), PROT_READ);
  ASSERT_FALSE(protect);
  EXPECT_EQ(ENOMEM, protect.error().errno_value);
  EXPECT_FALSE(puppet->write_memory(page(0), Bytes{1}));
}

TEST(Puppet, MapsFilesPrivately) {
  const auto puppet = new_puppet();
  const FileContents file(filled(kPageSize + 100, 'f'));
  EXPECT_DONE(puppet->map(of_file(pages(0, 4), PROT_READ | PROT_WRITE, 0, false), file.all()));
  EXPECT_EQ("ff", got(*puppet, page(0), 2));
  EXPECT_EQ(std::string("f") + std::string(3, '\0'), got(*puppet, page(1) + 99, 4));
  put(*puppet, page(0), "changed");
  // Pages behind the end of the file: a guest gets SIGBUS there, as it did.
  const auto maps = value_of(snapshot::read_proc_maps(puppet->pid()));
  EXPECT_EQ(PROT_NONE, mapped_at(maps, page(2))->protection);
  // The contents are those of all puppets.
  const auto other = new_puppet();
  EXPECT_DONE(other->map(of_file(pages(0, 2), PROT_READ, 0, false), file.all()));
  EXPECT_EQ("fffffff", got(*other, page(0), 7));
}

TEST(Puppet, ForkAndOriginalDoNotSeeEachOther) {
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(anonymous(pages(0, 2)), {}));
  put(*puppet, page(0), "before");
  const auto fork = value_of(puppet->fork());
  EXPECT_EQ("before", got(*fork, page(0), 6));
  EXPECT_EQ(puppet->space(), fork->space());
  put(*puppet, page(0), "parent");
  put(*fork, page(1), "child");
  EXPECT_EQ("before", got(*fork, page(0), 6));
  EXPECT_EQ(std::string(5, '\0'), got(*puppet, page(1), 5));
  EXPECT_DONE(fork->unmap_guest(pages(0, 1)));
  EXPECT_EQ("parent", got(*puppet, page(0), 6));
  // And a fork of the fork, which outlives it.
  auto second = value_of(fork->fork());
  put(*fork, page(1), "gone!");
  EXPECT_EQ("child", got(*second, page(1), 5));
}

TEST(Puppet, ForkHasTheVectorRegisters) {
  const auto puppet = new_puppet();
  ExtendedState state = value_of(puppet->extended_state());
  constexpr size_t kFirstVectorRegister = 160, kPresent = 512;  // SDM vol. 1, 13.4
  state[kFirstVectorRegister] = 0x5a;
  state[kPresent] |= 2;
  EXPECT_DONE(puppet->set_extended_state(state));
  const auto fork = value_of(puppet->fork());
  EXPECT_EQ(0x5a, value_of(fork->extended_state())[kFirstVectorRegister]);
}

TEST(Puppet, MovesItsOwnPageOutOfTheWay) {
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(anonymous(range_of(kGadgetPage, 4 * kPageSize)), {}));
  put(*puppet, kGadgetPage, "the guest's");
  EXPECT_EQ("the guest's", got(*puppet, kGadgetPage, 11));
  // Remote system calls go on working, in forks as well.
  const auto fork = value_of(puppet->fork());
  EXPECT_DONE(fork->map(anonymous(pages(0, 1)), {}));
  EXPECT_DONE(puppet->unmap_guest(range_of(kGadgetPage, 4 * kPageSize)));
  EXPECT_EQ("the guest's", got(*fork, kGadgetPage, 11));
}

TEST(Puppet, MovesItsOwnPageForARemap) {
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(anonymous(pages(0, 1)), {}));
  put(*puppet, page(0), "here");
  EXPECT_DONE(puppet->remap({pages(0, 1), range_of(kGadgetPage, kPageSize), false}));
  EXPECT_EQ("here", got(*puppet, kGadgetPage, 4));
  EXPECT_DONE(puppet->map(anonymous(pages(1, 1)), {}));
}

TEST(Puppet, StacksGrowAndAreFoundToHave) {
  const auto puppet = new_puppet();
  snapshot::Mapping stack = anonymous(pages(0, 2));
  stack.grows_down = true;
  EXPECT_DONE(puppet->map(stack, {}));
  EXPECT_DONE(puppet->set_stack_limit(4 << 20));
  rlimit limit{};
  ASSERT_EQ(0, prlimit(puppet->pid(), RLIMIT_STACK, nullptr, &limit));
  EXPECT_EQ(uint64_t{4} << 20, limit.rlim_cur);
  // A store below, as by `push`: the kernel makes the stack longer.
  const GuestAddress code = page(1000);
  EXPECT_DONE(puppet->map(anonymous(range_of(code, kPageSize), PROT_READ | PROT_EXEC), {}));
  put(*puppet, code, "\x50\x0f\x05");  // push rax; syscall
  Registers registers;
  registers.rip = code.value;
  registers.rsp = (page(0) - 3 * kPageSize + 16).value;
  registers.rflags = 0x202;
  registers.cs = 0x33;
  registers.ss = 0x2b;
  registers.rax = 7;
  const translate::HostStop stop = value_of(puppet->resume(registers));
  EXPECT_EQ(0, stop.signal);
  EXPECT_DONE(puppet->grow_stacks());
  EXPECT_EQ(page(0) - 3 * kPageSize, puppet->space().find(page(0))->range.begin);
  EXPECT_EQ('\7', got(*puppet, {registers.rsp - 8}, 1)[0]);
}

TEST(Puppet, KeepsRoomForStacks) {
  const auto puppet = new_puppet();
  snapshot::Mapping stack = anonymous(pages(0, 2));
  stack.grows_down = true;
  EXPECT_DONE(puppet->map(stack, {}));
  EXPECT_DONE(puppet->set_stack_limit(200 << 20));
  const std::vector<AddressRange> rooms = puppet->stack_rooms();
  ASSERT_EQ(1u, rooms.size());
  EXPECT_EQ(page(0), rooms[0].end);
  EXPECT_GE(rooms[0].size(), uint64_t{200} << 20);
  // Neither of the code below it nor of the stack itself.
  for (const GuestAddress code : {page(0) - (uint64_t{300} << 20), page(0)}) {
    const auto place = puppet->free_range_near(range_of(code, kPageSize), kArenaBytes);
    ASSERT_TRUE(place);
    EXPECT_FALSE(range_of(*place, kArenaBytes).overlaps(rooms[0])) << fmt::format("{}", *place);
  }
  // Nor where the place was chosen in another guest.
  const FileDescriptor memfd(memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(0, ftruncate(memfd.get(), kArenaBytes));
  EXPECT_FALSE(puppet->map_shared(rooms[0].begin, kArenaBytes, memfd.get(), 0, PROT_READ));
  EXPECT_DONE(
      puppet->map_shared(rooms[0].begin - kArenaBytes, kArenaBytes, memfd.get(), 0, PROT_READ));
}

TEST(Puppet, StopsAtSystemCallsAndFaults) {
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(anonymous(pages(0, 1), PROT_READ | PROT_EXEC), {}));
  put(*puppet, page(0), "\x0f\x05\xcc");  // syscall; int3
  Registers registers;
  registers.rip = page(0).value;
  registers.rflags = 0x202;
  registers.cs = 0x33;
  registers.ss = 0x2b;
  registers.rax = 39;  // getpid: must not be carried out
  translate::HostStop stop = value_of(puppet->resume(registers));
  EXPECT_EQ(0, stop.signal);
  EXPECT_EQ(39u, stop.registers.orig_rax);
  EXPECT_EQ(page(0).value + 2, stop.registers.rip);
  registers.rip = page(5).value;
  stop = value_of(puppet->resume(registers));
  EXPECT_EQ(SIGSEGV, stop.signal);
  EXPECT_EQ(page(5), stop.fault_address);
  // A remote system call from there: the stop leaves nothing behind.
  EXPECT_DONE(puppet->map(anonymous(pages(1, 1)), {}));
}

TEST(Puppet, ChangesOfCodeGetVersionsOfTheirOwn) {
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(anonymous(pages(0, 2), PROT_READ | PROT_EXEC), {}));
  const uint64_t first = puppet->code_page(page(0)).version;
  put(*puppet, page(0), "\xc3");
  const uint64_t second = puppet->code_page(page(0)).version;
  EXPECT_NE(first, second);
  const auto fork = value_of(puppet->fork());
  EXPECT_EQ(second, fork->code_page(page(0)).version);
  put(*puppet, page(0), "\x90");
  put(*fork, page(0), "\xcc");
  EXPECT_NE(puppet->code_page(page(0)).version, fork->code_page(page(0)).version);
  EXPECT_TRUE(puppet->code_page(page(1)).executable);
  EXPECT_FALSE(puppet->code_page(page(9)).executable);
}

TEST(FreeRange, LiesWithinReachAndIsFree) {
  const auto puppet = new_puppet();
  EXPECT_DONE(puppet->map(anonymous(pages(0, 100)), {}));
  const AddressRange code = pages(50, 1);
  const auto place = puppet->free_range_near(code, kArenaBytes);
  ASSERT_TRUE(place);
  const AddressRange found = range_of(*place, kArenaBytes);
  EXPECT_TRUE(puppet->space().overlapping(found).empty());
  const GuestAddress low = std::min(found.begin, code.begin);
  const GuestAddress high = std::max(found.end, code.end);
  EXPECT_LT(high - low, uint64_t{1} << 31);
}

TEST(FreeRange, AvoidsWhatTheEngineMappedAndItsOwnPage) {
  const auto puppet = new_puppet();
  FileDescriptor memfd(memfd_create("cache", MFD_CLOEXEC));
  ASSERT_EQ(0, ftruncate(memfd.get(), kArenaBytes));
  const AddressRange low = range_of({0x1000}, kPageSize);
  std::vector<AddressRange> taken{range_of(kGadgetPage, kPageSize)};
  for (int i = 0; i < 4; ++i) {
    const auto place = puppet->free_range_near(low, kArenaBytes);
    ASSERT_TRUE(place);
    const AddressRange found = range_of(*place, kArenaBytes);
    for (const AddressRange& other : taken)
      EXPECT_FALSE(found.overlaps(other)) << fmt::format("{}", found);
    EXPECT_DONE(puppet->map_shared(*place, kArenaBytes, memfd.get(), 0, PROT_READ));
    taken.push_back(found);
    EXPECT_EQ("", got(*puppet, *place, 1)) << "the guest must not see it";
  }
}

TEST(FreeRange, IsNoneWhereEveryGapIsTooSmall) {
  const auto puppet = new_puppet();
  // Reservations on both sides, with gaps between them that are a page too small.
  constexpr uint64_t kReservation = 1ull << 30;
  for (int i = -4; i < 4; ++i) {
    const uint64_t begin = kPlace.value + static_cast<uint64_t>(i) * (kReservation + kArenaBytes);
    const AddressRange range{{begin + kPageSize}, {begin + kReservation + 2 * kPageSize}};
    EXPECT_DONE(puppet->map(anonymous(range, PROT_NONE), {}));
  }
  const AddressRange code = range_of(kPlace + 16 * kPageSize, kPageSize);
  EXPECT_FALSE(puppet->free_range_near(code, kArenaBytes));
  EXPECT_TRUE(puppet->free_range_near(code, kArenaBytes / 2));
}

// A process as the recorder forks one: with the kernel's own pages in it.
class AdoptedPuppet : public testing::Test {
 protected:
  void SetUp() override {
    tracee::SpawnOptions options;
    options.arguments = {"/proc/self/exe"};
    tracee::Tracee process = value_of(tracee::Tracee::spawn(options));
    // Out of the execve, as the recorder's are.
    EXPECT_DONE(process.resume(tracee::ResumeMode::kSyscall));
    EXPECT_EQ(tracee::StopStatus::Kind::kSyscall, value_of(process.wait()).kind);
    Puppet::Forked forked{std::move(process), {}, {}, {}};
    for (const snapshot::ProcMapsEntry& entry :
         value_of(snapshot::read_proc_maps(forked.process.pid()))) {
      if (entry.name == "[vdso]") vdso_ = entry.range;
      if (entry.name.starts_with("[v")) {
        hidden_.push_back(entry.range);
        continue;
      }
      snapshot::Mapping mapping = anonymous(entry.range, entry.protection);
      mapping.grows_down = entry.name == "[stack]";
      forked.space.map(mapping);
    }
    Bytes code(vdso_.size());
    ASSERT_EQ(code.size(), forked.process.read_memory(vdso_.begin, code));
    const uint8_t instruction[] = {0x0f, 0x05};
    const auto found =
        std::search(code.begin(), code.end(), std::begin(instruction), std::end(instruction));
    forked.gadget = vdso_.begin + static_cast<uint64_t>(found - code.begin());
    puppet_ = value_of(Puppet::adopt(std::move(forked), log_));
  }

  trace::EventLog log_{trace::RecordingInfo{}};
  AddressRange vdso_;
  std::vector<AddressRange> hidden_;
  std::unique_ptr<Puppet> puppet_;
};

TEST_F(AdoptedPuppet, KeepsOffTheKernelsOwnPages) {
  const auto place = puppet_->free_range_near(vdso_, kArenaBytes);
  ASSERT_TRUE(place);
  for (const AddressRange& range : hidden_) {
    EXPECT_FALSE(range_of(*place, kArenaBytes).overlaps(range)) << fmt::format("{}", *place);
  }
  // What fills the gap behind the vDSO makes no difference.
  const AddressRange behind{vdso_.end, vdso_.end + 16 * kPageSize};
  EXPECT_DONE(puppet_->map(anonymous(behind), {}));
  const auto second = puppet_->free_range_near(behind, kArenaBytes);
  ASSERT_TRUE(second);
  for (const AddressRange& range : hidden_) {
    EXPECT_FALSE(range_of(*second, kArenaBytes).overlaps(range)) << fmt::format("{}", *second);
  }
}

TEST_F(AdoptedPuppet, HasNoDescriptorsAndItsOwnPage) {
  EXPECT_EQ("", got(*puppet_, kGadgetPage, 1));
  const auto fork = value_of(puppet_->fork());
  EXPECT_DONE(fork->map(anonymous(pages(0, 1)), {}));
  const std::string folder = fmt::format("/proc/{}/fd/0", puppet_->pid());
  EXPECT_NE(0, access(folder.c_str(), F_OK));
}

}  // namespace
}  // namespace rchk::replay::test
