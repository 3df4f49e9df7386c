// Channels that count on from one value to the next: what an op reads that takes its x in parts
// (ops/channels.h).
#pragma once

#include "core/kernel.h"

namespace ladarts {
namespace {

struct ChannelParts {
  void* const* data;  // of each part, (N, channels, H, W): KernelArgs::inputs from some operand on
  int64_t channels;   // of one part

  const float* plane(int64_t n, int64_t c, int64_t pixels) const {
    return static_cast<const float*>(data[c / channels]) + (n * channels + c % channels) * pixels;
  }
  // How many channels from c on, at most `most`, lie in the same part.
  int64_t run(int64_t c, int64_t most) const {
    const int64_t rest = channels - c % channels;
    return rest < most ? rest : most;
  }
};

}  // namespace
}  // namespace ladarts
