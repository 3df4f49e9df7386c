#include "core/staging.h"

#include "tests/support/catch.h"

using namespace ladarts;

TEST_CASE("staging: values are read back in order, as they were when they were asked for",
          "[core][staging]") {
  auto buffer = std::make_shared<Buffer>();
  const Storage value(buffer, buffer->reserve(sizeof(float)), Shape{1});
  Readback readback(buffer, 2);
  for (int i = 0; i < 3; ++i) {
    value.set(float(10 * i));
    readback.queue();
    CHECK(readback.under_way() == 1);
    value.set(float(10 * i + 1));
    readback.queue();
    CHECK(readback.under_way() == 2);
    value.set(-1);
    CHECK(readback.take()[0] == float(10 * i));
    CHECK(readback.take()[0] == float(10 * i + 1));
  }
}

TEST_CASE("staging: an upload copies a whole buffer", "[core][staging]") {
  Buffer to;
  to.reserve(100);
  HostBuffer from({}, to.bytes());
  for (size_t i = 0; i < from.bytes(); ++i) from.data()[i] = std::byte(i);
  StagedUpload upload;
  upload.wait();  // nothing is under way
  upload.queue(from, to);
  upload.wait();
  CHECK(std::equal(to.data(), to.data() + to.bytes(), from.data()));
}
