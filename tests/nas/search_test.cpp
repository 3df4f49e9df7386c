#include "nas/search.h"

#include <cmath>
#include <csignal>
#include <thread>

#include "core/interrupt.h"
#include "core/jsonl_log.h"
#include "core/progress.h"
#include "core/safetensors.h"
#include "nas/data/synthetic.h"
#include "nas/derive.h"
#include "nas/encoding.h"
#include "nas/network_file.h"
#include "nas/train.h"
#include "predictor/additive.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;

namespace {

ImageSource small_images(uint64_t seed, int64_t count) {
  SyntheticOptions options;
  options.size = 8;
  options.seed = seed;
  auto set = std::make_shared<ImageSet>();
  set->size = options.size;
  for (int k = 0; k < 10; ++k) set->classes.push_back(std::to_string(k));
  set->images.resize(size_t(count) * set->image_bytes());
  for (int64_t i = 0; i < count; ++i) {
    set->labels.push_back(uint8_t(i % 10));
    draw_synthetic(int(i % 10), options, uint64_t(i), set->images.data() + size_t(i) * set->image_bytes());
  }
  return {set, measure_normalisation(*set)};
}

SearchConfig small_search() {
  SearchConfig c = search_protocol("pc-darts");
  c.step.supernet.space = SearchSpace::load("darts");
  c.step.supernet.shape = {.channels = 4, .layers = 3, .classes = 10, .image = 8};
  c.step.supernet.partial_k = 2;
  c.step.batch = 8;
  c.epochs = 3;
  c.architecture_start_epoch = 1;
  c.seed = c.step.seed = 7;
  return c;
}

// Runs `work` until it reports that it finished, interrupting it ever later.
template <class Work>
int run_with_interrupts(Work work) {
  catch_interrupts();
  int interrupts = 0;
  for (int delay_ms = 5;; delay_ms += 5) {
    std::thread killer([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
      std::raise(SIGINT);
    });
    const bool finished = work();
    killer.join();
    clear_interrupt();
    if (finished) return interrupts;
    ++interrupts;
  }
}

// A cost for every operation of every edge.
Predictor some_predictor(const SearchSpace& space) {
  std::vector<double> costs(size_t(encoding_size(space)));
  for (size_t k = 0; k < costs.size(); ++k) costs[k] = 0.2 + 0.01 * double(k % 37);
  Predictor predictor;
  predictor.regressor = std::make_unique<AdditiveRegressor>(costs, 1.0);
  return predictor;
}

std::vector<Json> without_times(std::vector<Json> epochs) {
  for (Json& e : epochs) e.erase("seconds");
  return epochs;
}

}  // namespace

TEST_CASE("search: interrupted anywhere and resumed, it gives the same bits", "[nas][search]") {
  Progress::set_silent(true);
  const TempFolder folder;
  const ImageSource images = small_images(1, 80);
  const SearchConfig config = small_search();
  const SearchOutcome straight = run_search(config, images, nullptr, folder.path() / "straight");
  REQUIRE(straight.finished);
  CHECK(straight.epochs.size() == 3);
  SearchOutcome resumed;
  const int interrupts = run_with_interrupts([&] {
    resumed = run_search(config, images, nullptr, folder.path() / "resumed");
    return resumed.finished;
  });
  CHECK(interrupts > 0);
  CHECK(resumed.genotype == straight.genotype);
  CHECK(without_times(resumed.epochs) == without_times(straight.epochs));
  CHECK(load_tensors(folder.path() / "resumed/checkpoint.safetensors").tensors ==
        load_tensors(folder.path() / "straight/checkpoint.safetensors").tensors);
}

TEST_CASE("search: drawn architectures are the same after an interrupt, and the folder keeps the setting",
          "[nas][search]") {
  Progress::set_silent(true);
  const TempFolder folder;
  const ImageSource images = small_images(1, 80);
  SearchConfig config = small_search();
  config.step.lambda = 0.5f;
  config.step.term.relaxation = {RelaxationKind::drawn, 2};
  const Predictor predictor = some_predictor(config.step.supernet.space);
  const SearchOutcome straight = run_search(config, images, &predictor, folder.path() / "straight");
  REQUIRE(straight.finished);
  SearchOutcome resumed;
  const int interrupts = run_with_interrupts([&] {
    resumed = run_search(config, images, &predictor, folder.path() / "resumed");
    return resumed.finished;
  });
  CHECK(interrupts > 0);
  CHECK(without_times(resumed.epochs) == without_times(straight.epochs));
  CHECK(load_tensors(folder.path() / "resumed/checkpoint.safetensors").tensors ==
        load_tensors(folder.path() / "straight/checkpoint.safetensors").tensors);
  config.step.term.relaxation.draws = 3;
  CHECK_THROWS_WITH(run_search(config, images, &predictor, folder.path() / "straight"),
                    ContainsSubstring("draws: 2 here, 3 asked for"));
  config.step.term.relaxation = {RelaxationKind::gumbel, 2};
  CHECK_THROWS_WITH(run_search(config, images, &predictor, folder.path() / "straight"),
                    ContainsSubstring("\"gumbel\" asked for"));
}

TEST_CASE("search: each epoch's log tells what the term, draws and the derived network are predicted to cost",
          "[nas][search]") {
  Progress::set_silent(true);
  const TempFolder folder;
  const ImageSource images = small_images(1, 80);
  SearchConfig config = small_search();
  config.step.term.relaxation.kind = RelaxationKind::expected;
  const SearchSpace& space = config.step.supernet.space;
  const Predictor predictor = some_predictor(space);
  const SearchOutcome outcome = run_search(config, images, &predictor, folder.path() / "run");
  const std::vector<Json> architecture = read_jsonl(folder.path() / "run/architecture.jsonl");
  REQUIRE(architecture.size() == outcome.epochs.size());
  for (size_t i = 0; i < outcome.epochs.size(); ++i) {
    const Json& epoch = outcome.epochs[i];
    FeatureMatrix derived;
    derived.append(encode(parse_genotype(epoch["genotype"].get<std::string>(), space), space));
    CHECK(epoch["derived_cost"].get<double>() == predictor.regressor->predict(derived)[0]);
    // The cost is a sum: the mean of 64 draws is near the cost of the mean.
    const double drawn = epoch["drawn_cost"], deviation = epoch["drawn_deviation"];
    CHECK(deviation > 0);
    CHECK(std::fabs(drawn - epoch["relaxed_cost"].get<double>()) < 5 * deviation / 8);
    // alpha and beta of the epoch derive what it says.
    ArchitectureValues values;
    for (const std::string& cell : space.cell_types) {
      values.alpha.push_back(architecture[i]["alpha_" + cell].get<std::vector<float>>());
      values.beta.push_back(architecture[i]["beta_" + cell].get<std::vector<float>>());
    }
    CHECK(to_text(derive(space, values), space) == epoch["genotype"].get<std::string>());
  }
}

TEST_CASE("search: a folder of another search is refused and names the difference", "[nas][search]") {
  Progress::set_silent(true);
  const TempFolder folder;
  const ImageSource images = small_images(1, 40);
  SearchConfig config = small_search();
  config.epochs = 2;
  run_search(config, images, nullptr, folder.path() / "run");
  config.step.batch = 4;
  CHECK_THROWS_WITH(run_search(config, images, nullptr, folder.path() / "run"),
                    ContainsSubstring("batch: 8 here, 4 asked for"));
}

TEST_CASE("search: a protocol searches the published supernet where no size is given", "[nas][search]") {
  SearchConfig config = search_protocol("pc-darts");
  config.step.supernet.space = SearchSpace::load("darts");
  const Json none = Json::object();
  JsonFields fields(none, "settings");
  const NetworkShape shape = read_search_config(fields, config).step.supernet.shape;
  CHECK(shape.channels == 16);
  CHECK(shape.layers == 8);
  config.step.supernet.shape = {.channels = 20, .layers = 5};
  CHECK(read_search_config(fields, config).step.supernet.shape.channels == 20);
  config.step.supernet.space = SearchSpace::load("nasbench201");
  config.step.supernet.shape = {};
  CHECK(resolve(read_search_config(fields, config).step.supernet.shape, config.step.supernet.space).layers ==
        5);
}

TEST_CASE("search: a certain search needs a predictor that knows how certain it is", "[nas][search]") {
  const TempFolder folder;
  const ImageSource images = small_images(1, 40);
  SearchConfig config = small_search();
  config.step.lambda = 0.5f;
  config.step.term.certainty = 1;
  const Predictor predictor = some_predictor(config.step.supernet.space);
  CHECK_THROWS_WITH(run_search(config, images, &predictor, folder.path() / "a"),
                    ContainsSubstring("does not know how certain it is"));
  CHECK_FALSE(std::filesystem::exists(folder.path() / "a/config.json"));  // free for a corrected command
  config.step.term.certainty = -1;
  CHECK_THROWS_WITH(run_search(config, images, &predictor, folder.path() / "a"),
                    ContainsSubstring("certainty is -1"));
  config.step.term.certainty = 0;
  config.step.term.relaxation.draws = 0;
  CHECK_THROWS_WITH(run_search(config, images, &predictor, folder.path() / "a"),
                    ContainsSubstring("draws is 0"));
}

TEST_CASE("search: impossible settings are refused", "[nas][search]") {
  const TempFolder folder;
  const ImageSource images = small_images(1, 40);
  SearchConfig config = small_search();
  config.architecture_start_epoch = config.epochs;
  CHECK_THROWS_WITH(run_search(config, images, nullptr, folder.path() / "a"),
                    ContainsSubstring("never be updated"));
  config = small_search();
  config.step.batch = 64;
  CHECK_THROWS_AS(run_search(config, images, nullptr, folder.path() / "b"), Error);
}

TEST_CASE("train: interrupted anywhere and resumed, it gives the same network, which loads again",
          "[nas][train]") {
  Progress::set_silent(true);
  const TempFolder folder;
  const ImageSource train = small_images(1, 60), test = small_images(2, 25);
  TrainConfig config;
  config.network.space = SearchSpace::load("darts");
  config.network.genotype = parse_genotype("DARTS_V2", config.network.space);
  config.network.shape = {.channels = 4, .layers = 3, .classes = 10, .image = 8};
  config.epochs = 3;
  config.batch = 12;
  config.cutout = 2;
  config.seed = 3;
  const TrainOutcome straight = run_training(config, train, test, folder.path() / "straight");
  REQUIRE(straight.finished);
  TrainOutcome resumed;
  CHECK(run_with_interrupts([&] {
          resumed = run_training(config, train, test, folder.path() / "resumed");
          return resumed.finished;
        }) > 0);
  CHECK(without_times(resumed.epochs) == without_times(straight.epochs));
  LoadedNetwork loaded = load_network(folder.path() / "resumed/network.safetensors");
  CHECK(load_tensors(folder.path() / "straight/network.safetensors").tensors ==
        load_tensors(folder.path() / "resumed/network.safetensors").tensors);
  const Evaluation again = evaluate_network(loaded.config, *loaded.params, *loaded.buffers, test, 7).value();
  CHECK(again.images == 25);
  CHECK(again.accuracy == Approx(straight.test.accuracy));
  CHECK(again.loss == Approx(straight.test.loss).epsilon(1e-4));
}
