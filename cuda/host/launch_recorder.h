// What a stream points to where kernels run on the CPU. It includes nothing of CUDA's names: libraries that
// stand in for NVIDIA's use it beside the real headers.
#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace ladarts::simt {

struct LaunchRecorder {
  bool recording = false;
  std::vector<std::function<void()>> launches;
};

// Work is finished when this returns, unless it is recorded. Null is the default stream, which records
// nothing.
template <class F>
void run_or_record(LaunchRecorder* recorder, F&& work) {
  if (recorder && recorder->recording)
    recorder->launches.emplace_back(std::forward<F>(work));
  else
    work();
}

}  // namespace ladarts::simt
