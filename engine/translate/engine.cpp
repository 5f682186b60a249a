#include "engine/translate/engine.h"

#include "engine/translate/engine_impl.h"

namespace rchk::translate {

Result<std::unique_ptr<Engine>> Engine::create(const ImprovementPace& pace) {
  RCHK_TRY_ASSIGN(std::unique_ptr<CodeCache> cache, CodeCache::create());
  return std::unique_ptr<Engine>(new Engine(std::make_unique<Impl>(std::move(cache), pace)));
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<void> Engine::attach(Host& host) { return impl_->attach(host); }
Result<void> Engine::set_probes(Probes probes) { return impl_->set_probes(std::move(probes)); }
Result<Stop> Engine::run(Registers& registers, const RunRequest& request) {
  return impl_->run(registers, request);
}
Result<Stop> Engine::run_logged(Registers& registers, uint64_t limit,
                                std::vector<LoggedInstruction>& passed) {
  return impl_->run_logged(registers, limit, passed);
}
std::optional<Hit> Engine::last_hit() const { return impl_->last_hit(); }
Result<void> Engine::run_rep_iterations(Registers& registers, uint64_t iterations) {
  return impl_->run_rep_iterations(registers, iterations);
}
bool Engine::is_rep_string(GuestAddress pc) { return impl_->is_rep_string(pc); }
bool Engine::branches_nowhere(const Registers& registers) {
  return impl_->branches_nowhere(registers);
}
std::optional<std::vector<AddressRange>> Engine::possible_writes(const Registers& registers) {
  return impl_->possible_writes(registers);
}
void Engine::invalidate(AddressRange range) { impl_->invalidate(range); }
Result<void> Engine::make_room(AddressRange range) { return impl_->make_room(range); }
Statistics Engine::statistics() const { return impl_->statistics(); }

}  // namespace rchk::translate
