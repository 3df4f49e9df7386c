// Symmetric positive definite systems in double, row-major, blocked and on all threads of a pool. Work is cut
// by shape: results are the same bits for any number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "core/thread_pool.h"

namespace ladarts::dense {

// a (n, n): the lower triangle becomes L with A = L L^T, above it are zeros; n^3 / 3 multiply-adds. False
// where A is not positive definite; `a` is then spoilt.
bool cholesky(std::vector<double>& a, int64_t n, ThreadPool& pool = ThreadPool::global());

// x (n, m) <- L^-1 x, with L (n, n) as cholesky() leaves it.
void solve_lower(const std::vector<double>& l, int64_t n, std::vector<double>& x, int64_t m,
                 ThreadPool& pool = ThreadPool::global());

// b (n) <- (L L^T)^-1 b
void solve(const std::vector<double>& l, int64_t n, std::vector<double>& b);

// L^-1 (n, n), lower triangular.
std::vector<double> lower_inverse(const std::vector<double>& l, int64_t n,
                                  ThreadPool& pool = ThreadPool::global());

// (L L^T)^-1 from L^-1, both triangles.
std::vector<double> inverse_from_lower(const std::vector<double>& inverse_l, int64_t n,
                                       ThreadPool& pool = ThreadPool::global());

// c (rows, columns) -= a (rows, depth) b (depth, columns), each with its row stride.
struct Product {
  double* c;
  int64_t c_stride;
  const double* a;
  int64_t a_stride;
  const double* b;
  int64_t b_stride;
  int64_t rows, columns, depth;
};
void subtract_product(const Product& p);  // on the calling thread

}  // namespace ladarts::dense
