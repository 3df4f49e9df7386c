// Pieces of the pictures that the program draws.
#pragma once

#include <string>

namespace ladarts::svg {

std::string escaped(const std::string& text);
// A line of text; `more` are further attributes.
std::string text(double x, double y, const std::string& text, const std::string& more = "");
// Opens a picture on white with a style sheet; closed by "</svg>".
std::string begin(double width, double height, const std::string& style);

// A logarithmic axis.
struct Axis {
  double low = 0, high = 1;      // log10
  double start = 0, length = 1;  // pixels; negative length: upwards

  double at(double value) const;
};

}  // namespace ladarts::svg
