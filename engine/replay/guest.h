#pragma once

#include <memory>

#include "base/registers.h"
#include "base/types.h"
#include "engine/replay/puppet.h"

namespace rchk::replay {

// A guest at one point of its history: a puppet and what it does not hold itself.
struct Guest {
  std::unique_ptr<Puppet> puppet;
  Registers registers;
  Position position;

  // The same guest at the same point, in a process of its own.
  Result<Guest> fork() const {
    RCHK_TRY_ASSIGN(std::unique_ptr<Puppet> copy, puppet->fork());
    return Guest{std::move(copy), registers, position};
  }
};

}  // namespace rchk::replay
