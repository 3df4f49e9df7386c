// Whatever was done to the files of an image set, reading it succeeds with labels in range or throws Error.
#include "core/atomic_file.h"
#include "core/error.h"
#include "nas/data/cifar.h"
#include "nas/data/synthetic.h"
#include "tests/support/catch.h"
#include "tests/support/mutate.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;

TEST_CASE("damaged image sets: read with labels in range, or refused", "[nas][data][damaged]") {
  TempFolder folder;
  write_synthetic(folder.path(), {.train = 10, .test = 4, .size = 8, .seed = 1});
  const std::string names[] = {cifar_batch_name(2), kCifarTestName, kCifarClassesName, kImageSetName};
  Random random(23);
  int refused = 0;
  for (int i = 0; i < 1200; ++i) {
    const std::string path = folder / names[random.below(4)];
    const std::string good = read_file(path);
    write_plain(path, mutate(good, random));
    try {
      const ImageSets sets = read_cifar(folder.path());
      for (const ImageSet* set : {&sets.train, &sets.test}) {
        REQUIRE(set->images.size() == size_t(set->count()) * set->image_bytes());
        for (uint8_t label : set->labels) REQUIRE(label < set->classes.size());
      }
    } catch (const Error& e) {
      ++refused;
      REQUIRE(std::string(e.what()).find(folder.path().string()) != std::string::npos);
    }
    write_plain(path, good);
  }
  CHECK(refused > 600);
  CHECK(refused < 1200);
  CHECK(read_cifar(folder.path()).train.count() == 10);
}
