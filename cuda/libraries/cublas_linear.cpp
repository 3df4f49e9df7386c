// Fully connected layers by cuBLAS, which stores matrices by columns: a matrix (rows, columns) of ours is its
// transpose (columns, rows) there. Layers that read x through ReLU are left to our kernels.
#include "core/error.h"
#include "cuda/libraries/cublas.h"
#include "cuda/repeat_rows.h"
#include "ops/linear.h"

namespace ladarts::cuda {
namespace {

// As cuBLAS names them: C (m, n) = op(A) op(B) over k, each by columns with a distance from column to column.
struct Product {
  cublasOperation_t a_op, b_op;
  int m, n, k;
  int a_stride, b_stride;  // that of C is m
};

class CublasProduct : public PreparedKernel {
 public:
  CublasProduct(const Product& p, int a, int b, int bias, const KernelNode& node)
      : device_(node.device), product_(p), a_(a), b_(b), bias_(bias), tf32_(node.tf32) {
    make_cublas_handle(device_);
  }
  std::string name() const override { return tf32_ ? "cublas gemm tf32" : "cublas gemm"; }
  size_t workspace_bytes() const override { return kCublasBytes; }
  void run(const Op&, const KernelArgs& args) override {
    const Product& p = product_;
    const float one = 1, none = 0;
    if (bias_ >= 0) repeat_rows(args.in(bias_), args.out(0), p.n, p.m, args.stream);
    const bool adds = bias_ >= 0 || args.accumulate(0);
    cublasHandle_t const handle = cublas_handle(device_, args, tf32_);
    LADARTS_CUBLAS_CHECK(cublasSgemm_v2(handle, p.a_op, p.b_op, p.m, p.n, p.k, &one, args.in(a_), p.a_stride,
                                        args.in(b_), p.b_stride, adds ? &one : &none, args.out(0), p.m));
  }

 private:
  Device device_;
  Product product_;
  int a_, b_, bias_;  // positions among the inputs; no bias: -1
  bool tf32_;
};

PreparedKernels product(const Product& p, int a, int b, int bias, const KernelNode& node) {
  return {"", {std::make_shared<CublasProduct>(p, a, b, bias, node)}};
}

// y (N, O) = x (N, I) w^T + bias; by columns: y (O, N) = w^T x of w (I, O) and x (I, N).
PreparedKernels prepare_linear(const Linear& op, const KernelNode& node) {
  if (op.desc.relu_input) return {};
  const Shape &x = node.shapes.inputs[0], &w = node.shapes.inputs[1];
  const int batch = int(x[0]), features = int(x[1]), outputs = int(w[0]);
  return product({CUBLAS_OP_T, CUBLAS_OP_N, outputs, batch, features, features, features}, 1, 0,
                 node.shapes.inputs.size() > 2 ? 2 : -1, node);
}

// (d_y (N, O), w (O, I)) -> d_x (N, I) = d_y w; by columns: d_x (I, N) = w d_y of w (I, O) and d_y (O, N).
PreparedKernels prepare_linear_grad_input(const LinearGradInput& op, const KernelNode& node) {
  if (op.desc.relu_input) return {};
  const Shape &d_y = node.shapes.inputs[0], &w = node.shapes.inputs[1];
  const int batch = int(d_y[0]), outputs = int(d_y[1]), features = int(w[1]);
  return product({CUBLAS_OP_N, CUBLAS_OP_N, features, batch, outputs, features, outputs}, 1, 0, -1, node);
}

// (d_y (N, O), x (N, I)) -> d_w (O, I) = d_y^T x; by columns: d_w (I, O) = x d_y^T of x (I, N) and d_y (O,
// N).
PreparedKernels prepare_linear_grad_weight(const LinearGradWeight& op, const KernelNode& node) {
  if (op.desc.relu_input) return {};
  const Shape &d_y = node.shapes.inputs[0], &x = node.shapes.inputs[1];
  const int batch = int(d_y[0]), outputs = int(d_y[1]), features = int(x[1]);
  return product({CUBLAS_OP_N, CUBLAS_OP_T, features, outputs, batch, features, outputs}, 1, 0, -1, node);
}

const PrepareRegistration<Linear, prepare_linear> linear_registered(cublas_table(), {"linear"});
const PrepareRegistration<LinearGradInput, prepare_linear_grad_input> linear_input_registered(
    cublas_table(), {"linear_grad_input"});
const PrepareRegistration<LinearGradWeight, prepare_linear_grad_weight> linear_weight_registered(
    cublas_table(), {"linear_grad_weight"});

}  // namespace
}  // namespace ladarts::cuda
