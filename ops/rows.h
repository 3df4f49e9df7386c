// Small matrices (R, C): columns picked and padded, rows scaled, the largest of each row.
#pragma once

#include "core/graph.h"

namespace ladarts {

// (R, C) -> (R, count): columns [begin, begin + count).
Tensor slice_columns(Tensor x, int64_t begin, int64_t count);
// (R, C) -> (R, before + C + after), zeros around.
Tensor pad_columns(Tensor x, int64_t before, int64_t after);
// (R, C), (R) -> (R, C): row r times s[r].
Tensor scale_rows(Tensor x, Tensor s);
// (R, C) -> (R): the largest of each row; its gradient goes to the first such element.
Tensor row_max(Tensor x);

// out[r, c] = x[r, c + shift] where that exists, else 0. Slicing and padding, and each other's gradient.
class ShiftColumns : public Op {  // (x: (R, C)) -> (R, C')
 public:
  explicit ShiftColumns(int64_t by) : shift(by) {}
  std::string_view name() const override { return "shift_columns"; }
  void backward(Backward& b) const override;
  bool can_accumulate(int) const override { return true; }
  int64_t shift;
};

class ScaleRows : public Op {  // (x: (R, C), s: (R)) -> (R, C)
 public:
  std::string_view name() const override { return "scale_rows"; }
  void backward(Backward& b) const override;
  bool can_accumulate(int) const override { return true; }
};

class RowDot : public Op {  // (a: (R, C), b: (R, C)) -> (R): sum over columns of a * b
 public:
  std::string_view name() const override { return "row_dot"; }
  bool can_accumulate(int) const override { return true; }
};

class RowMax : public Op {  // (x: (R, C)) -> (R)
 public:
  std::string_view name() const override { return "row_max"; }
  void backward(Backward& b) const override;
};

class RowMaxGrad : public Op {  // (x: (R, C), d_y: (R)) -> d_x: (R, C)
 public:
  std::string_view name() const override { return "row_max_grad"; }
};

}  // namespace ladarts
