// In what groups the channels of an image pass through the backward pass of a separable stage, and which of
// them lie in blocks (ops/cpu/depthwise_blocked.h).
#pragma once

#include "ops/cpu/tiles.h"
#include "ops/separable_plan.h"

namespace ladarts {
namespace {

// Channels [first, first + count) of x, whose tiles begin at those of channel `place`.
struct ChannelGroup {
  int first, count, place;
  bool blocked;
};

// Where branches share an input all of its channels are one group, as gradients of u are summed over
// branches. Else groups are small, so that from u to its gradient all of their tiles stay in the nearer
// caches: two blocks, or a few tiles of both products. Channels that fill no block come last; with long rows
// they would cost more than blocks save, and none is blocked. Nor is any where images are read `directly`;
// there the channels of small images are one group.
class ChannelGroups {
 public:
  ChannelGroups(const SeparablePlan& p, bool shared, bool directly)
      : channels_(p.c),
        whole_(shared || (directly && p.tile <= kSmall)),
        directly_(directly),
        blocked_(directly ? 0 : p.c / kLanes * kLanes) {
    if (blocked_ < p.c && (shared || p.width >= 2 * kLanes)) blocked_ = 0;
  }
  int blocked() const { return blocked_; }
  bool directly() const { return directly_; }
  // The one that follows the first `done` channels.
  ChannelGroup after(int done) const {
    if (whole_) return {0, channels_, 0, blocked_ > 0};
    if (done < blocked_) return {done, std::min(kTwoBlocks, blocked_ - done), 0, true};
    if (blocked_ > 0) return {done, channels_ - done, std::min(kTwoBlocks, blocked_), false};
    return {done, int(Blocks(channels_, kTogether).end_of(done)) - done, 0, false};
  }

 private:
  static constexpr int kTwoBlocks = 2 * kLanes;
  static constexpr int kTogether = 12, kSmall = 256;  // channels; pixels
  int channels_;
  bool whole_, directly_;
  int blocked_;
};

}  // namespace
}  // namespace ladarts
