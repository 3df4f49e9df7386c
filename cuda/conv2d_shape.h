// Sizes of a convolution as kernels take them: by value, in the 32 bits in which GPUs divide fast.
#pragma once

#include "ops/conv2d_plan.h"

namespace ladarts::cuda {

struct ConvShape {
  uint32_t images, channels, height, width;  // x
  uint32_t outputs, out_height, out_width;   // y
  uint32_t group_channels, group_outputs;    // of one group
  uint32_t kernel_height, kernel_width;
  int stride, padding, dilation;
  bool relu_input;

  explicit ConvShape(const Conv2dGeometry& g)
      : images(uint32_t(g.n)),
        channels(uint32_t(g.c)),
        height(uint32_t(g.h)),
        width(uint32_t(g.w)),
        outputs(uint32_t(g.o)),
        out_height(uint32_t(g.oh)),
        out_width(uint32_t(g.ow)),
        group_channels(uint32_t(g.cg)),
        group_outputs(uint32_t(g.og)),
        kernel_height(uint32_t(g.kh)),
        kernel_width(uint32_t(g.kw)),
        stride(int(g.stride)),
        padding(int(g.padding)),
        dilation(int(g.dilation)),
        relu_input(g.relu_input) {}
};

}  // namespace ladarts::cuda
