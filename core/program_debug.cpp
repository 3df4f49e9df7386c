// Debug mode. Each node writes into copies between guard words, is checked, and is then computed again by the
// plainest kernels on copies of its inputs.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>

#include "core/error.h"
#include "core/program_state.h"

namespace ladarts {

namespace {

using Words = std::vector<uint32_t>;

constexpr size_t kGuardWords = 16;
constexpr uint32_t kGuard = 0x7fc0dead;  // a NaN
// Of the reference's largest value in the tensor, and alone: what float sums in another order may differ by.
constexpr float kRelativeTolerance = 1e-3f, kAbsoluteTolerance = 1e-5f;

std::string describe(const Step& s) {
  std::string text = fmt::format("[{}]", s.op->name());
  if (!s.scope.empty()) text += " in " + s.scope;
  text += ", inputs";
  for (const Shape& shape : s.input_shapes) text += " " + shape.str();
  return text;
}

// A tensor that a step writes: an output, or an input that it updates in place.
struct Written {
  std::string name;  // "output 0"
  void* at;
  size_t words;
  DType type;
  bool keeps;  // what is there before the step is read
};

std::vector<Written> written_by(const Step& s) {
  std::vector<Written> all;
  for (size_t k = 0; k < s.outputs.size(); ++k)
    all.push_back({fmt::format("output {}", k), s.outputs[k], size_t(s.output_shapes[k].elements()),
                   s.output_types[k], s.accumulates[k] != 0});
  for (int k : s.updates)
    all.push_back({fmt::format("input {}, updated in place,", k), s.inputs[size_t(k)],
                   size_t(s.input_shapes[size_t(k)].elements()), s.input_types[size_t(k)], true});
  return all;
}

size_t words_of(const Shape& shape, DType type) {
  return (size_t(shape.elements()) * bytes_of(type) + sizeof(uint32_t) - 1) / sizeof(uint32_t);
}

class DebugRun {
 public:
  explicit DebugRun(Program::State& state)
      : state_(state), device_(state.arena->device()), memory_(*device_backend(device_.kind)) {}

  void run() {
    fill(state_.arena->data(), Words(state_.arena->bytes() / sizeof(uint32_t), kGuard));
    for (const Step& s : state_.steps) run_step(s);
  }

 private:
  void fill(void* to, const Words& words) {
    if (!words.empty()) memory_.upload(device_, to, words.data(), words.size() * sizeof(uint32_t));
  }
  Words read(const void* from, size_t count) {
    Words words(count);
    if (count) memory_.download(device_, words.data(), from, count * sizeof(uint32_t));
    return words;
  }

  void run_step(const Step& s) {
    const std::vector<Written> written = written_by(s);
    std::vector<Words> inputs, before;
    for (size_t i = 0; i < s.inputs.size(); ++i)
      inputs.push_back(read(s.inputs[i], words_of(s.input_shapes[i], s.input_types[i])));
    for (const Written& w : written) before.push_back(w.keeps ? read(w.at, w.words) : Words(w.words, kGuard));

    const std::vector<Words> after = run_guarded(s, written, before);
    for (size_t k = 0; k < written.size(); ++k) check_finite(s, written[k], after[k]);
    compare(s, written, after, run_reference(s, inputs, before));
    for (size_t k = 0; k < written.size(); ++k) fill(written[k].at, after[k]);
  }

  // The step, writing between guard words. Throws where one was written over.
  std::vector<Words> run_guarded(const Step& s, const std::vector<Written>& written,
                                 const std::vector<Words>& before) {
    // 64-byte aligned, as a kernel may expect.
    auto slot = [](size_t words) { return (words + kGuardWords - 1) / kGuardWords * kGuardWords; };
    size_t total = kGuardWords;
    for (const Written& w : written) total += slot(w.words) + kGuardWords;
    Buffer buffer(device_);
    buffer.reserve(total * sizeof(uint32_t));
    Words content(total, kGuard);
    std::map<void*, void*> moved;
    std::vector<size_t> begins;
    size_t begin = kGuardWords;
    for (size_t k = 0; k < written.size(); ++k) {
      std::copy(before[k].begin(), before[k].end(), content.begin() + ptrdiff_t(begin));
      moved[written[k].at] = buffer.data() + begin * sizeof(uint32_t);
      begins.push_back(begin);
      begin += slot(written[k].words) + kGuardWords;
    }
    fill(buffer.data(), content);

    auto redirected = [&](std::vector<void*> pointers) {
      for (void*& p : pointers)
        if (auto it = moved.find(p); it != moved.end()) p = it->second;
      return pointers;
    };
    // Empty tensors share addresses with others, but are never accessed.
    const std::vector<void*> inputs = redirected(s.inputs), outputs = redirected(s.outputs);
    KernelArgs args = s.args;
    args.inputs = inputs.data();
    args.outputs = outputs.data();
    {
      const NamedRange range(state_.stream, s);
      s.kernel.run(*s.op, args);
    }

    content = read(buffer.data(), total);
    std::vector<Words> after;
    size_t checked = 0;
    auto check_guards_up_to = [&](size_t end, size_t k, const char* where) {
      for (; checked < end; ++checked)
        if (content[checked] != kGuard)
          fail("{}: {} was written beyond its {}", describe(s), written[k].name, where);
    };
    for (size_t k = 0; k < written.size(); ++k) {
      const size_t end = begins[k] + written[k].words;
      check_guards_up_to(begins[k], k, "beginning");
      after.emplace_back(content.begin() + ptrdiff_t(begins[k]), content.begin() + ptrdiff_t(end));
      checked = end;
      check_guards_up_to(begins[k] + slot(written[k].words) + kGuardWords / 2, k, "end");
    }
    return after;
  }

  void check_finite(const Step& s, const Written& w, const Words& after) {
    if (w.type != DType::f32) return;
    for (size_t i = 0; i < after.size(); ++i)
      if (const float x = std::bit_cast<float>(after[i]); !std::isfinite(x))
        fail("{}: {} holds {} at element {} of {}", describe(s), w.name, x, i, w.words);
  }

  // What the CPU's baseline kernels make of the same inputs on one thread.
  std::vector<Words> run_reference(const Step& s, std::vector<Words> inputs, std::vector<Words> before) {
    std::vector<void*> in, out;
    for (Words& words : inputs) in.push_back(words.data());
    for (size_t k = 0; k < s.outputs.size(); ++k) out.push_back(before[k].data());
    for (size_t k = 0; k < s.updates.size(); ++k) {
      void* const at = s.inputs[size_t(s.updates[k])];
      for (size_t i = 0; i < s.inputs.size(); ++i)
        if (s.inputs[i] == at) in[i] = before[s.outputs.size() + k].data();
    }
    Buffer workspace;
    workspace.reserve(std::max<size_t>(s.op->workspace_bytes({s.input_shapes, s.output_shapes}, 1), 1));
    KernelArgs args = s.args;
    args.inputs = in.data();
    args.outputs = out.data();
    args.workspace = workspace.data();
    args.pool = &one_thread_;
    args.stream = nullptr;
    find_cpu_kernel(*s.op, CpuIsa::baseline)(*s.op, args);
    return before;
  }

  void compare(const Step& s, const std::vector<Written>& written, const std::vector<Words>& got,
               const std::vector<Words>& want) {
    for (size_t k = 0; k < written.size(); ++k) {
      float largest = 0;
      if (written[k].type == DType::f32)
        for (uint32_t word : want[k]) largest = std::max(largest, std::fabs(std::bit_cast<float>(word)));
      const float tolerance = kAbsoluteTolerance + kRelativeTolerance * largest;
      for (size_t i = 0; i < want[k].size(); ++i) {
        if (got[k][i] == want[k][i]) continue;
        const float x = std::bit_cast<float>(got[k][i]), y = std::bit_cast<float>(want[k][i]);
        if (written[k].type == DType::f32 && std::fabs(x - y) <= tolerance) continue;
        const std::string what =
            written[k].type == DType::f32
                ? fmt::format("{} where the baseline kernel has {}", x, y)
                : fmt::format("{} where the baseline kernel has {}", int32_t(got[k][i]), int32_t(want[k][i]));
        fail("{}: {} mismatches: {} at element {} of {}", describe(s), written[k].name, what, i,
             written[k].words);
      }
    }
  }

  Program::State& state_;
  const Device device_;
  DeviceBackend& memory_;
  ThreadPool one_thread_{1};
};

}  // namespace

void run_debug(Program::State& state) {
  DebugRun(state).run();
}

}  // namespace ladarts
