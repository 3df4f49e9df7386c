#include "predictor/dense.h"

#include <algorithm>
#include <cmath>

#include "core/kernel.h"

namespace ladarts::dense {

namespace {

constexpr int64_t kBlock = 64;  // rows of a block of the factor
constexpr int64_t kColumns =
    256;  // of one task: kBlock x kColumns values of c and kBlock x kColumns of b, 256 KiB

// R rows by 8 columns of c stay in registers over the depth.
template <int R, bool fma>
[[gnu::always_inline]] inline void tile(const Product& p, int64_t i, int64_t j) {
  double sum[R][8] = {};
  for (int64_t k = 0; k < p.depth; ++k) {
    const double* b = p.b + k * p.b_stride + j;
    for (int r = 0; r < R; ++r) {
      const double a = p.a[(i + r) * p.a_stride + k];
      for (int c = 0; c < 8; ++c) {
        if constexpr (fma) {
          sum[r][c] = __builtin_fma(a, b[c], sum[r][c]);
        } else {
          sum[r][c] += a * b[c];
        }
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < 8; ++c) p.c[(i + r) * p.c_stride + j + c] -= sum[r][c];
}

template <bool fma>
[[gnu::always_inline]] inline void product(const Product& p) {
  const int64_t whole = p.columns / 8 * 8;
  int64_t i = 0;
  for (; i + 4 <= p.rows; i += 4)
    for (int64_t j = 0; j < whole; j += 8) tile<4, fma>(p, i, j);
  for (; i < p.rows; ++i)
    for (int64_t j = 0; j < whole; j += 8) tile<1, fma>(p, i, j);
  for (i = 0; i < p.rows; ++i)
    for (int64_t j = whole; j < p.columns; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < p.depth; ++k) sum += p.a[i * p.a_stride + k] * p.b[k * p.b_stride + j];
      p.c[i * p.c_stride + j] -= sum;
    }
}

void product_baseline(const Product& p) {
  product<false>(p);
}
#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] void product_avx2(const Product& p) {
  product<true>(p);
}
[[gnu::target("avx512f,avx2,fma,prefer-vector-width=512")]] void product_avx512(const Product& p) {
  product<true>(p);
}
#endif

// Rows [begin, end) of the columns begin .. end-1, which hold what is left of A there.
bool factor_diagonal(std::vector<double>& a, int64_t n, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i)
    for (int64_t j = begin; j <= i; ++j) {
      double sum = a[size_t(i * n + j)];
      for (int64_t k = begin; k < j; ++k) sum -= a[size_t(i * n + k)] * a[size_t(j * n + k)];
      if (j < i) {
        a[size_t(i * n + j)] = sum / a[size_t(j * n + j)];
      } else {
        if (!(sum > 0)) return false;
        a[size_t(i * n + i)] = std::sqrt(sum);
      }
    }
  return true;
}

// x (rows begin .. end-1 of a matrix with `stride`) <- inverse of L's diagonal block times x, `columns` of it
void solve_diagonal(const std::vector<double>& l, int64_t n, int64_t begin, int64_t end, double* x,
                    int64_t stride, int64_t columns) {
  for (int64_t i = begin; i < end; ++i) {
    double* row = x + i * stride;
    for (int64_t k = begin; k < i; ++k) {
      const double factor = l[size_t(i * n + k)];
      const double* other = x + k * stride;
      for (int64_t j = 0; j < columns; ++j) row[j] -= factor * other[j];
    }
    const double pivot = 1 / l[size_t(i * n + i)];
    for (int64_t j = 0; j < columns; ++j) row[j] *= pivot;
  }
}

// As solve_lower(), where column j of x is known to be zero above row j if `triangular`.
void solve_blocks(const std::vector<double>& l, int64_t n, std::vector<double>& x, int64_t m, bool triangular,
                  ThreadPool& pool) {
  const int64_t strips = (m + kColumns - 1) / kColumns;
  pool.parallel_for(strips, [&](int64_t strip, int) {
    const int64_t j = strip * kColumns, columns = std::min(kColumns, m - j);
    const int64_t first = triangular ? j / kBlock * kBlock : 0;
    for (int64_t i = first; i < n; i += kBlock) {
      const int64_t end = std::min(i + kBlock, n);
      for (int64_t k = first; k < i; k += kBlock)
        subtract_product({x.data() + i * m + j, m, l.data() + i * n + k, n, x.data() + k * m + j, m, end - i,
                          columns, std::min(kBlock, i - k)});
      solve_diagonal(l, n, i, end, x.data() + j, m, columns);
    }
  });
}

}  // namespace

void subtract_product(const Product& p) {
#if defined(__x86_64__)
  switch (current_cpu_isa()) {
    case CpuIsa::avx512:
      return product_avx512(p);
    case CpuIsa::avx2:
      return product_avx2(p);
    case CpuIsa::baseline:
      break;
  }
#endif
  product_baseline(p);
}

bool cholesky(std::vector<double>& a, int64_t n, ThreadPool& pool) {
  std::vector<double> panel;  // transposed, (block, rows below)
  for (int64_t k = 0; k < n; k += kBlock) {
    const int64_t end = std::min(k + kBlock, n), width = end - k, below = n - end;
    if (!factor_diagonal(a, n, k, end)) return false;
    if (below == 0) break;
    panel.assign(size_t(width * below), 0.0);
    pool.parallel_for((below + kBlock - 1) / kBlock, [&](int64_t task, int) {
      for (int64_t i = end + task * kBlock; i < std::min(end + (task + 1) * kBlock, n); ++i) {
        double* row = a.data() + i * n;
        for (int64_t j = k; j < end; ++j) {  // row <- row L_kk^-T
          double sum = row[j];
          for (int64_t c = k; c < j; ++c) sum -= row[c] * a[size_t(j * n + c)];
          row[j] = sum / a[size_t(j * n + j)];
          panel[size_t((j - k) * below + i - end)] = row[j];
        }
      }
    });
    // What is right of the diagonal is computed too within a block and cleared at the end.
    pool.parallel_for((below + kBlock - 1) / kBlock, [&](int64_t task, int) {
      const int64_t i = end + task * kBlock, rows = std::min(kBlock, n - i);
      const int64_t columns = i + rows - end;
      for (int64_t j = 0; j < columns; j += kColumns)
        subtract_product({a.data() + i * n + end + j, n, a.data() + i * n + k, n, panel.data() + j, below,
                          rows, std::min(kColumns, columns - j), width});
    });
  }
  for (int64_t i = 0; i < n; ++i) std::fill(a.begin() + i * n + i + 1, a.begin() + (i + 1) * n, 0.0);
  return true;
}

void solve_lower(const std::vector<double>& l, int64_t n, std::vector<double>& x, int64_t m,
                 ThreadPool& pool) {
  solve_blocks(l, n, x, m, false, pool);
}

void solve(const std::vector<double>& l, int64_t n, std::vector<double>& b) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < i; ++k) b[size_t(i)] -= l[size_t(i * n + k)] * b[size_t(k)];
    b[size_t(i)] /= l[size_t(i * n + i)];
  }
  for (int64_t i = n; i-- > 0;) {  // by rows of L: what x_i takes from the unknowns before it
    b[size_t(i)] /= l[size_t(i * n + i)];
    for (int64_t k = 0; k < i; ++k) b[size_t(k)] -= l[size_t(i * n + k)] * b[size_t(i)];
  }
}

std::vector<double> lower_inverse(const std::vector<double>& l, int64_t n, ThreadPool& pool) {
  std::vector<double> x(size_t(n * n));
  for (int64_t i = 0; i < n; ++i) x[size_t(i * n + i)] = 1;
  solve_blocks(l, n, x, n, true, pool);
  return x;
}

std::vector<double> inverse_from_lower(const std::vector<double>& x, int64_t n, ThreadPool& pool) {
  std::vector<double> transposed(x.size()), result(x.size());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j <= i; ++j) transposed[size_t(j * n + i)] = -x[size_t(i * n + j)];
  pool.parallel_for((n + kBlock - 1) / kBlock, [&](int64_t task, int) {
    const int64_t i = task * kBlock, rows = std::min(kBlock, n - i);
    for (int64_t k = i; k < n; k += kBlock)  // rows of x above i are zero in columns i ..
      for (int64_t j = 0; j < i + rows; j += kColumns)
        subtract_product({result.data() + i * n + j, n, transposed.data() + i * n + k, n,
                          x.data() + k * n + j, n, rows, std::min(kColumns, i + rows - j),
                          std::min(kBlock, n - k)});
  });
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < i; ++j) result[size_t(j * n + i)] = result[size_t(i * n + j)];
  return result;
}

}  // namespace ladarts::dense
