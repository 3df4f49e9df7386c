// What a training step reports, on its way from the device to the host.
#pragma once

#include "core/graph.h"
#include "core/staging.h"

namespace ladarts {

struct StepResult {
  float loss = 0;   // cross-entropy, without the latency term
  int correct = 0;  // of batch
};

// The results of one program's runs, taken in order while later runs are queued already.
class StepOutput {
 public:
  StepOutput(Device device, int ahead) : StepOutput(std::make_shared<Buffer>(device), ahead) {}

  // Loss and number of correct predictions, one element each, that the program computes.
  void bind(Graph& graph, Tensor loss, Tensor correct) const {
    graph.bind(loss, {buffer_, loss_, Shape{1}});
    graph.bind(correct, {buffer_, correct_, Shape{1}});
  }
  void queue() { readback_.queue(); }  // after each run
  StepResult take() {
    const std::span<const float> values = readback_.take();
    return {values[loss_ / sizeof(float)], int(values[correct_ / sizeof(float)])};
  }

 private:
  StepOutput(std::shared_ptr<Buffer> buffer, int ahead)
      : buffer_(std::move(buffer)),
        loss_(buffer_->reserve(sizeof(float))),
        correct_(buffer_->reserve(sizeof(float))),
        readback_(buffer_, ahead) {}

  std::shared_ptr<Buffer> buffer_;
  size_t loss_, correct_;  // offsets in bytes
  Readback readback_;
};

}  // namespace ladarts
