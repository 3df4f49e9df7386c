// Pools of 3x3 at stride 1 of one plane, of any size, for ops that pool what they read anyway.
#pragma once

#include "ops/cpu/channel_moments.h"
#include "ops/cpu/pool2d_direct.h"
#include "ops/cpu/pool2d_planes.h"

namespace ladarts {
namespace {

class PlanePools {
 public:
  // `scratch`: Pool2dScratch of such a pool with 2 planes, of this thread.
  PlanePools(const Shape& x, float* scratch)
      : x_(x), layout_(x, x, kPlanePool, 2), direct_(pools_directly(kPlanePool, x)), scratch_(scratch) {
    if (direct_) return;
    fill_inv_columns(window(), scratch_);
    fill_floats(plane(0), layout_.plane_floats, Max::neutral);
    fill_floats(plane(1), layout_.plane_floats, Sum::neutral);
  }

  // y += the averages of x.
  void add_averages(const float* x, float* y) const {
    if (direct_)
      return with_pixel_row(x_[3], [&](auto row) { direct_averages<decltype(row), true>(x, x_[2], y); });
    averages(x);
    for (int64_t i = 0; i < pixels(); ++i) y[i] += pooled()[i];
  }
  // What gradient g of averages is of what they were taken of.
  void averages_gradient(const float* g, float* to) const {
    if (!direct_) return avg_grad_plane(window(), g, to, scratch_, plane(1), false);
    DirectSum d{};
    d.planes[0] = g;
    d.factors[0] = 1;
    with_pixel_row(
        x_[3], [&](auto row) { direct_averages_gradient<decltype(row), 1, false>(nullptr, x_[2], d, to); });
  }

  void moments(const float* x, float* of_maxima, float* of_averages) const {
    if (direct_)
      return with_pixel_row(
          x_[3], [&](auto row) { direct_moments<decltype(row)>(x, x_[2], of_maxima, of_averages); });
    maxima(x);
    plane_moments(pooled(), pixels(), of_maxima);
    averages(x);
    plane_moments(pooled(), pixels(), of_averages);
  }

  // As direct_plane_sum() and direct_plane_products().
  void add_plane(const float* x, OfPlane factors, float* out, float* averaged, bool add,
                 SoonRead soon) const {
    if (direct_)
      return with_pixel_row(x_[3], [&](auto row) {
        direct_plane_sum<decltype(row)>(x, x_[2], factors, out, averaged, add, soon);
      });
    maxima(x);
    for (int64_t i = 0; i < pixels(); ++i) {
      out[i] += factors.identity * x[i] + factors.maxima * pooled()[i];
      averaged[i] = (add ? averaged[i] : 0.f) + factors.averages * x[i];
    }
  }
  OfPlane products(const float* x, const float* g, const float* shares) const {
    OfPlane p;
    if (direct_) {
      with_pixel_row(x_[3], [&](auto row) { p = direct_plane_products<decltype(row)>(x, x_[2], g, shares); });
      return p;
    }
    maxima(x);
    for (int64_t i = 0; i < pixels(); ++i) {
      p.identity += g[i] * x[i];
      p.maxima += g[i] * pooled()[i];
      p.averages += shares[i] * x[i];
    }
    return p;
  }

 private:
  PoolWindow<3, 1, 1, 0> window() const { return {kPlanePool, x_[2], x_[2], x_[3], x_[3]}; }
  // Of images of other sizes, to pooled().
  void maxima(const float* x) const { pool_plane<Max>(window(), x, pooled(), scratch_, plane(0)); }
  void averages(const float* x) const { pool_plane<Sum>(window(), x, pooled(), scratch_, plane(1)); }

  int64_t pixels() const { return x_[2] * x_[3]; }
  float* pooled() const { return layout_.pooled(scratch_); }
  float* plane(int i) const { return scratch_ + layout_.row_floats + i * layout_.plane_floats; }

  Shape x_;
  Pool2dScratch layout_;
  bool direct_;
  float* scratch_;
};

}  // namespace
}  // namespace ladarts
