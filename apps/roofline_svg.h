// The roofline as a picture.
#pragma once

#include <string>

#include "predictor/profile.h"

namespace ladarts {

// An SVG: GFLOP/s over FLOPs per byte, both logarithmic, below the roof of the machine's measured peaks. A
// dot is an op, its area the time that it takes, its title (on hover) name, place and figures. Ops without
// arithmetic have no place in such a picture; how many there are and what they take is said below it.
std::string roofline_svg(const ProgramProfile& profile, const MachinePeak& peak, const std::string& title);

}  // namespace ladarts
