#pragma once

#include <functional>
#include <string>
#include <utility>

namespace rchk {

// Says how far something has come that takes long, to whoever wants to know.
class Progress {
 public:
  // Makes a sentence of it, if that is wanted.
  using Words = std::function<std::string()>;
  using Listener = std::function<void(const Words&)>;

  void set_listener(Listener listener) { listener_ = std::move(listener); }
  // Called up to some hundred times a second.
  void tell(const Words& words) const {
    if (listener_) listener_(words);
  }

 private:
  Listener listener_;
};

}  // namespace rchk
