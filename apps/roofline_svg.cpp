#include "apps/roofline_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "core/svg.h"

namespace ladarts {

namespace {

constexpr double kWidth = 860, kHeight = 560, kLeft = 70, kRight = 200, kTop = 50, kBottom = 80;
constexpr const char* kColours[] = {"#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
                                    "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"};

using svg::Axis;

// Over whole decades.
Axis decades(double least, double most, double start, double length) {
  const double low = std::floor(std::log10(least));
  return {low, std::max(low + 1, std::ceil(std::log10(most))), start, length};
}

struct Dot {
  double intensity, gflops, us;
  std::string op, title;
};

std::string grid(const Axis& x, const Axis& y) {
  std::string out;
  const double bottom = kHeight - kBottom, right = kWidth - kRight;
  for (double d = x.low; d <= x.high; ++d) {
    const double at = x.at(std::pow(10, d));
    out += fmt::format("<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" class=\"grid\"/>\n", at,
                       kTop, bottom);
    out += svg::text(at, bottom + 18, fmt::format("{:g}", std::pow(10, d)), "text-anchor=\"middle\"");
  }
  for (double d = y.low; d <= y.high; ++d) {
    const double at = y.at(std::pow(10, d));
    out += fmt::format("<line y1=\"{0:.1f}\" y2=\"{0:.1f}\" x1=\"{1}\" x2=\"{2}\" class=\"grid\"/>\n", at,
                       kLeft, right);
    out += svg::text(kLeft - 8, at + 4, fmt::format("{:g}", std::pow(10, d)), "text-anchor=\"end\"");
  }
  out += svg::text((kLeft + right) / 2, bottom + 38, "FLOPs per byte moved", "text-anchor=\"middle\"");
  return out + svg::text(kLeft - 8, kTop - 12, "GFLOP/s", "text-anchor=\"end\"");
}

std::string roof(const Axis& x, const Axis& y, const MachinePeak& peak) {
  const double left = std::pow(10, x.low), right = std::pow(10, x.high), least = std::pow(10, y.low);
  // The slanted part begins where it enters the picture.
  const double from = std::max(left, least / peak.copy_gbs),
               ridge = std::clamp(peak.gflops / peak.copy_gbs, from, right);
  return fmt::format("<polyline points=\"{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}\" class=\"roof\"/>\n",
                     x.at(from), y.at(from * peak.copy_gbs), x.at(ridge),
                     y.at(std::min(peak.gflops, ridge * peak.copy_gbs)), x.at(right),
                     y.at(std::min(peak.gflops, right * peak.copy_gbs))) +
         svg::text(x.at(right) - 6, y.at(peak.gflops) - 8, fmt::format("{:.0f} GFLOP/s", peak.gflops),
                   "text-anchor=\"end\"") +
         svg::text(x.at(from) + 26, y.at(from * peak.copy_gbs) + 2,
                   fmt::format("copies {:.1f} GB/s", peak.copy_gbs));
}

std::string dots(const std::vector<Dot>& all, const Axis& x, const Axis& y) {
  std::map<std::string, const char*> colours;
  for (const Dot& d : all) colours.try_emplace(d.op, kColours[colours.size() % std::size(kColours)]);
  double longest = 0;
  for (const Dot& d : all) longest = std::max(longest, d.us);
  std::string out;
  for (const Dot& d : all)
    out += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\" fill=\"{}\" "
        "class=\"op\"><title>{}</title></circle>\n",
        x.at(d.intensity), y.at(d.gflops), 2.5 + 9 * std::sqrt(d.us / longest), colours[d.op],
        svg::escaped(d.title));
  double line = kTop + 40;
  for (const auto& [op, colour] : colours) {
    out += fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"5\" fill=\"{}\" class=\"op\"/>\n",
                       kWidth - kRight + 20, line - 4, colour);
    out += svg::text(kWidth - kRight + 32, line, op);
    line += 18;
  }
  return out;
}

}  // namespace

std::string roofline_svg(const ProgramProfile& profile, const MachinePeak& peak, const std::string& title) {
  std::vector<Dot> all;
  int others = 0;
  double others_us = 0;
  for (size_t i = 0; i < profile.nodes.size(); ++i) {
    const NodeInfo& n = profile.nodes[i];
    const double us = std::max(1e-3, profile.node_us[i]);
    if (n.cost.flops <= 0 || n.cost.bytes_moved <= 0) {
      ++others;
      others_us += us;
      continue;
    }
    const double gflops = n.cost.flops / us * 1e-3;
    all.push_back({n.cost.flops / n.cost.bytes_moved, gflops, us, n.op,
                   fmt::format("{} at {}: {:.1f} us, {:.1f} GFLOP/s, {:.1f} GB/s", n.op, n.scope, us, gflops,
                               n.cost.bytes_moved / us * 1e-3)});
  }
  double least_x = 1, most_x = 2 * peak.gflops / peak.copy_gbs, least_y = peak.gflops, most_y = peak.gflops;
  for (const Dot& d : all) {
    least_x = std::min(least_x, d.intensity);
    most_x = std::max(most_x, d.intensity);
    least_y = std::min(least_y, d.gflops);
    most_y = std::max(most_y, d.gflops);
  }
  const Axis x = decades(least_x, most_x, kLeft, kWidth - kRight - kLeft),
             y = decades(least_y, most_y, kHeight - kBottom, kTop + kBottom - kHeight);
  std::string out = svg::begin(kWidth, kHeight,
                               ".grid { stroke: #ddd } .op { fill-opacity: 0.55 } .roof { stroke: #000; "
                               "stroke-width: 2; fill: none }");
  out += svg::text(kLeft, 22, title) + grid(x, y) + roof(x, y, peak) + dots(all, x, y);
  if (others > 0)
    out += svg::text(kLeft, kHeight - 14,
                     fmt::format("{} ops without arithmetic, {:.1f} us of {:.1f}, are not drawn", others,
                                 others_us, profile.nodes_us()));
  return out + "</svg>";
}

}  // namespace ladarts
