#include "engine/translate/translator.h"

namespace rchk::translate {

void Translator::emit_state_probe(const StateProbe&, const TraceStep& step) {
  const uint32_t site = add_site(ExitKind::kCandidate, step.pc, index_ - added_);
  cold_exits_.push_back({out_.jump(out_.here()), site, false});
}

}  // namespace rchk::translate
