#include <fmt/format.h>

#include "gdbserver/protocol/register_map.h"

namespace rchk::protocol {
namespace {

// The types that a feature's registers use and gdb does not define itself. The vectors are those
// that gdb itself makes for SSE, so that `print $xmm0.v4_float` works as it does natively.
constexpr const char* kVectorTypes =
    R"(<vector id="v4f" type="ieee_single" count="4"/>
<vector id="v2d" type="ieee_double" count="2"/>
<vector id="v16i8" type="int8" count="16"/>
<vector id="v8i16" type="int16" count="8"/>
<vector id="v4i32" type="int32" count="4"/>
<vector id="v2i64" type="int64" count="2"/>
<union id="vec128">
<field name="v4_float" type="v4f"/>
<field name="v2_double" type="v2d"/>
<field name="v16_int8" type="v16i8"/>
<field name="v8_int16" type="v8i16"/>
<field name="v4_int32" type="v4i32"/>
<field name="v2_int64" type="v2i64"/>
<field name="uint128" type="uint128"/>
</union>
)";

struct Flag {
  const char* name;
  int bit;
};

// SDM vol. 1, figure 3-8.
constexpr Flag kEflags[] = {{"CF", 0},   {"", 1},    {"PF", 2},  {"AF", 4},  {"ZF", 6},
                            {"SF", 7},   {"TF", 8},  {"IF", 9},  {"DF", 10}, {"OF", 11},
                            {"NT", 14},  {"RF", 16}, {"VM", 17}, {"AC", 18}, {"VIF", 19},
                            {"VIP", 20}, {"ID", 21}};
// SDM vol. 1, figure 10-3.
constexpr Flag kMxcsr[] = {{"IE", 0},  {"DE", 1},  {"ZE", 2},  {"OE", 3}, {"UE", 4},
                           {"PE", 5},  {"DAZ", 6}, {"IM", 7},  {"DM", 8}, {"ZM", 9},
                           {"OM", 10}, {"UM", 11}, {"PM", 12}, {"FZ", 15}};

template <size_t kCount>
void append_flags(std::string& out, const char* id, const Flag (&flags)[kCount]) {
  out += fmt::format("<flags id=\"{}\" size=\"4\">\n", id);
  for (const Flag& flag : flags) {
    out += fmt::format("<field name=\"{0}\" start=\"{1}\" end=\"{1}\"/>\n", flag.name, flag.bit);
  }
  out += "</flags>\n";
}

const char* name_of(Feature feature) {
  switch (feature) {
    case Feature::kCore:
      return "org.gnu.gdb.i386.core";
    case Feature::kSse:
      return "org.gnu.gdb.i386.sse";
    case Feature::kLinux:
      return "org.gnu.gdb.i386.linux";
    case Feature::kSegments:
      return "org.gnu.gdb.i386.segments";
    case Feature::kAvx:
      return "org.gnu.gdb.i386.avx";
    case Feature::kAvx512:
      return "org.gnu.gdb.i386.avx512";
    case Feature::kPkeys:
      return "org.gnu.gdb.i386.pkeys";
  }
  return "";
}

void append_types(std::string& out, Feature feature) {
  switch (feature) {
    case Feature::kCore:
      append_flags(out, "i386_eflags", kEflags);
      break;
    case Feature::kSse:
      out += kVectorTypes;
      append_flags(out, "i386_mxcsr", kMxcsr);
      break;
    case Feature::kAvx512:
      out += kVectorTypes;
      out += "<vector id=\"v2ui128\" type=\"uint128\" count=\"2\"/>\n";
      break;
    case Feature::kLinux:
    case Feature::kSegments:
    case Feature::kAvx:
    case Feature::kPkeys:
      break;
  }
}

void append_register(std::string& out, const RegisterDescription& one) {
  out += fmt::format("<reg name=\"{}\" bitsize=\"{}\" type=\"{}\"", one.name, 8 * one.size_bytes,
                     one.type);
  const bool is_x87_control = one.component == target::XsaveComponent::kX87 &&
                              one.home != RegisterHome::kGeneral && one.size_bytes == 4;
  if (is_x87_control) out += " group=\"float\"";
  if (one.name == "orig_rax") out += " group=\"system\"";
  if (one.dwarf_number >= 0) {
    out += fmt::format(" dwarf_regnum=\"{0}\" ehframe_regnum=\"{0}\"", one.dwarf_number);
  }
  if (*one.generic != '\0') out += fmt::format(" generic=\"{}\"", one.generic);
  out += "/>\n";
}

}  // namespace

std::string target_description(const RegisterMap& map) {
  std::string out =
      "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
      "<target version=\"1.0\">\n<architecture>i386:x86-64</architecture>\n"
      "<osabi>GNU/Linux</osabi>\n";
  const RegisterDescription* previous = nullptr;
  for (const RegisterDescription& one : map.all()) {
    if (previous == nullptr || previous->feature != one.feature) {
      if (previous != nullptr) out += "</feature>\n";
      out += fmt::format("<feature name=\"{}\">\n", name_of(one.feature));
      append_types(out, one.feature);
    }
    append_register(out, one);
    previous = &one;
  }
  out += "</feature>\n</target>\n";
  return out;
}

}  // namespace rchk::protocol
