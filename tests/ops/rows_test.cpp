#include "ops/rows.h"

#include <algorithm>

#include "ops/inclusion.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

TEST_CASE("rows: columns are sliced and padded", "[ops][rows]") {
  check(
      {.name = "slice_columns",
       .inputs = {{.shape = {5, 8}}},
       .record = [](Graph&, const std::vector<Tensor>& x) { return std::vector{slice_columns(x[0], 1, 6)}; },
       .oracle =
           [](const std::vector<Array>& x) {
             Array y({5, 6});
             for (int r = 0; r < 5; ++r)
               for (int c = 0; c < 6; ++c) y.at(r, c) = x[0].at(r, c + 1);
             return std::vector{y};
           }});
  check({.name = "pad_columns",
         .inputs = {{.shape = {3, 4}}},
         .record = [](Graph&, const std::vector<Tensor>& x) { return std::vector{pad_columns(x[0], 2, 1)}; },
         .oracle =
             [](const std::vector<Array>& x) {
               Array y({3, 7});
               for (int r = 0; r < 3; ++r)
                 for (int c = 0; c < 4; ++c) y.at(r, c + 2) = x[0].at(r, c);
               return std::vector{y};
             }});
}

TEST_CASE("rows: scaled rows and row maxima", "[ops][rows]") {
  check({.name = "scale_rows",
         .inputs = {{.shape = {7, 3}}, {.shape = {7}}},
         .record = [](Graph&, const std::vector<Tensor>& x) { return std::vector{scale_rows(x[0], x[1])}; },
         .oracle =
             [](const std::vector<Array>& x) {
               Array y = x[0];
               for (int r = 0; r < 7; ++r)
                 for (int c = 0; c < 3; ++c) y.at(r, c) *= x[1].v[size_t(r)];
               return std::vector{y};
             }});
  check({.name = "row_max",
         .inputs = {{.shape = {9, 5}}},
         .record = [](Graph&, const std::vector<Tensor>& x) { return std::vector{row_max(x[0])}; },
         .oracle =
             [](const std::vector<Array>& x) {
               Array y(Shape{9});
               for (int r = 0; r < 9; ++r)
                 y.v[size_t(r)] = *std::max_element(&x[0].v[size_t(r) * 5], &x[0].v[size_t(r) * 5] + 5);
               return std::vector{y};
             }});
}

TEST_CASE("inclusion probability: equals the sum over all ordered draws", "[ops][inclusion]") {
  const std::vector<int> groups{2, 3, 4, 5};
  for (int keep : {1, 2})
    check({.name = "keep " + std::to_string(keep),
           .inputs = {{.shape = {14}, .low = 0.05f, .high = 1.f}},
           .record =
               [&](Graph&, const std::vector<Tensor>& x) {
                 return std::vector{inclusion_probability(x[0], groups, keep)};
               },
           .oracle =
               [&](const std::vector<Array>& x) {
                 Array q(Shape{14});
                 size_t at = 0;
                 for (int n : groups) {
                   const double* s = &x[0].v[at];
                   double total = 0;
                   for (int i = 0; i < n; ++i) total += s[i];
                   for (int i = 0; i < n; ++i) {
                     if (keep == 1) q.v[at + size_t(i)] += s[i] / total;
                     for (int j = 0; keep == 2 && j < n; ++j) {
                       if (i == j) continue;
                       const double pair = s[i] / total * s[j] / (total - s[i]);  // i first, then j
                       q.v[at + size_t(i)] += pair;
                       q.v[at + size_t(j)] += pair;
                     }
                   }
                   at += size_t(n);
                 }
                 return std::vector{q};
               }});
}
