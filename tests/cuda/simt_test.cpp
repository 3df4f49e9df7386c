// The host layer under cuda/host/ itself: kernels that are right give the right numbers in every order,
// planted bugs are caught.
#include "cuda/simt.h"

#include <limits>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

using Kind = simt::ThreadOrder::Kind;

const std::vector<simt::ThreadOrder> kOrders{
    {Kind::forward}, {Kind::reverse}, {Kind::random, 1}, {Kind::random, 2}, {Kind::random, 3}};

template <class F>
void in_every_order(F f) {
  for (simt::ThreadOrder order : kOrders) {
    simt::set_thread_order(order);
    f();
  }
  simt::set_thread_order({});
}

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// sums[block] = sum of 128 values of x by a tree in shared memory.
template <bool with_barrier>
__global__ void tree_sum(const float* x, float* sums) {
  SIMT_DYNAMIC_SHARED(float, part);
  const int t = int(threadIdx.x);
  part[t] = x[blockIdx.x * 128 + threadIdx.x];
  __syncthreads();
  for (int half = 64; half > 0; half /= 2) {
    if (t < half) part[t] += part[t + half];
    if (with_barrier) __syncthreads();
  }
  if (t == 0) sums[blockIdx.x] = part[0];
}

// The same within one warp, by shuffles, and by the lanes' votes.
__global__ void warp_facts(const float* x, float* total, unsigned* negative) {
  float v = x[threadIdx.x];
  const unsigned votes = __ballot_sync(0xffffffffu, v < 0.f);
  for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffffu, v, step);
  const float first = __shfl_sync(0xffffffffu, v, 0);
  total[threadIdx.x] = first;
  if (threadIdx.x == 0) *negative = votes;
}

__global__ void neighbours(int* up, int* down) {
  const int t = int(threadIdx.x);
  up[t] = __shfl_up_sync(0xffffffffu, t, 1, 8);
  down[t] = __shfl_down_sync(0xffffffffu, t, 3);
}

__global__ void reverse_rows(const float* x, float* y, int n) {
  SIMT_DYNAMIC_SHARED(float, row);
  const int t = int(threadIdx.x + threadIdx.y * blockDim.x);
  row[t] = x[t];
  __syncthreads();
  y[t] = row[n - 1 - t];
}

__global__ void count(int* hits) {
  atomicAdd(hits, 1);
}

__global__ void divergent_barrier() {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void early_return(int n) {
  if (int(threadIdx.x) >= n) return;
  __syncthreads();
}

__global__ void half_a_warp_votes(unsigned* votes) {
  if (threadIdx.x < 16) *votes = __ballot_sync(0xffffffffu, 1);
  __syncthreads();
}

__global__ void reads_unwritten(float* y) {
  __shared__ float cell[2];
  if (threadIdx.x == 0) cell[0] = 1.f;
  __syncthreads();
  y[threadIdx.x] = cell[threadIdx.x];
}

template <int size>
__global__ void reads_unwritten_in_template(float* y) {
  SIMT_DYNAMIC_SHARED(float, cell);
  y[threadIdx.x] = cell[threadIdx.x];
  y[threadIdx.x + size] = cell[threadIdx.x + size];
}

__global__ void throws() {
  __syncthreads();
  if (threadIdx.x == 5) fail("from thread five");
  __syncthreads();
}

}  // namespace

TEST_CASE("simt: barriers, shuffles, votes and shared memory give the right numbers in every order",
          "[cuda][simt]") {
  std::vector<float> x(512);
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(i % 7) - 2.f;
  in_every_order([&] {
    std::vector<float> sums(4), total(32), mirrored(512);
    unsigned negative = 0;
    simt::launch(tree_sum<true>, 4, 128, 512, nullptr, x.data(), sums.data());
    for (size_t b = 0; b < 4; ++b) {
      float expected = 0;
      for (size_t i = 0; i < 128; ++i) expected += x[b * 128 + i];
      CHECK(sums[b] == expected);
    }
    simt::launch(warp_facts, 1, 32, 0, nullptr, x.data(), total.data(), &negative);
    float expected = 0;
    for (unsigned i = 0; i < 32; ++i) {
      expected += x[i];
      CHECK(((negative >> i) & 1) == unsigned(x[i] < 0.f));
    }
    for (float t : total) CHECK(t == expected);
    std::vector<int> up(32), down(32);
    simt::launch(neighbours, 1, 32, 0, nullptr, up.data(), down.data());
    for (int i = 0; i < 32; ++i) {
      CHECK(up[size_t(i)] == (i % 8 ? i - 1 : i));
      CHECK(down[size_t(i)] == (i + 3 < 32 ? i + 3 : i));
    }
    simt::launch(reverse_rows, 1, dim3(64, 8), 512 * sizeof(float), nullptr, x.data(), mirrored.data(), 512);
    CHECK(std::vector<float>(x.rbegin(), x.rend()) == mirrored);
    int hits = 0;
    simt::launch(count, dim3(3, 2, 2), dim3(8, 4), 0, nullptr, &hits);
    CHECK(hits == 12 * 32);
  });
}

TEST_CASE("simt: a missing barrier gives a wrong sum in some order", "[cuda][simt][race]") {
  std::vector<float> x(128, 1.f);
  int wrong = 0;
  in_every_order([&] {
    float sum = 0;
    simt::launch(tree_sum<false>, 1, 128, 512, nullptr, x.data(), &sum);
    wrong += sum != 128.f;
  });
  CHECK(wrong > 0);
}

// Asked for by name: the thread sanitizer has to find it.
TEST_CASE("simt: a planted race", "[.planted_race]") {
  std::vector<float> x(128, 1.f), sums(1);
  simt::launch(tree_sum<false>, dim3(1), dim3(128), 128 * sizeof(float), nullptr, x.data(), sums.data());
}

TEST_CASE("simt: divergent barriers are reported with file, line and thread", "[cuda][simt]") {
  in_every_order([] {
    const std::string text = message_of([] { simt::launch(divergent_barrier, 1, 64, 0, nullptr); });
    INFO(text);
    CHECK(contains(text, "divergent barrier"));
    CHECK(contains(text, "simt_test.cpp:"));
    CHECK(contains(text, "thread ("));
  });
}

TEST_CASE("simt: a return before a barrier is reported", "[cuda][simt]") {
  in_every_order([] {
    const std::string text = message_of([] { simt::launch(early_return, 1, 64, 0, nullptr, 63); });
    INFO(text);
    CHECK(contains(text, "returned"));
    CHECK(contains(text, "__syncthreads at"));
    CHECK(contains(text, "simt_test.cpp:"));
  });
  CHECK(message_of([] { simt::launch(early_return, 1, 64, 0, nullptr, 64); }).empty());
}

TEST_CASE("simt: a warp operation that lanes of its mask never reach is reported", "[cuda][simt]") {
  in_every_order([] {
    unsigned votes = 0;
    const std::string text = message_of([&] { simt::launch(half_a_warp_votes, 1, 32, 0, nullptr, &votes); });
    INFO(text);
    CHECK(contains(text, "waits forever in a warp operation"));
    CHECK(contains(text, "simt_test.cpp:"));
    // Half a warp has no lanes 16 to 31 at all.
    CHECK(contains(message_of([&] { simt::launch(half_a_warp_votes, 1, 16, 0, nullptr, &votes); }),
                   "names lane 16"));
  });
}

TEST_CASE("simt: shared memory that nobody wrote reads as NaN in every block", "[cuda][simt]") {
  std::vector<float> y(2);
  for (int run = 0; run < 2; ++run) {
    simt::launch(reads_unwritten, 3, 2, 0, nullptr, y.data());
    CHECK(y[0] == 1.f);
    CHECK(std::isnan(y[1]));
  }
  std::vector<float> z(16);
  simt::launch(reads_unwritten_in_template<8>, 1, 8, 16 * sizeof(float), nullptr, z.data());
  for (float v : z) CHECK(std::isnan(v));
}

TEST_CASE("simt: sizes no GPU takes and errors inside of kernels throw, and the next launch works",
          "[cuda][simt]") {
  int hits = 0;
  CHECK(contains(message_of([&] { simt::launch(count, 1, 1025, 0, nullptr, &hits); }), "1025"));
  CHECK(contains(message_of([&] { simt::launch(count, 0, 32, 0, nullptr, &hits); }), "grid"));
  CHECK(contains(message_of([&] { simt::launch(count, dim3(1, 70000), 32, 0, nullptr, &hits); }), "70000"));
  CHECK(contains(message_of([&] { simt::launch(count, 1, 32, 300 << 10, nullptr, &hits); }), "shared"));
  CHECK(hits == 0);
  CHECK(message_of([] { simt::launch(throws, 1, 64, 0, nullptr); }) == "from thread five");
  simt::launch(count, 1, 1024, 0, nullptr, &hits);
  CHECK(hits == 1024);
}
