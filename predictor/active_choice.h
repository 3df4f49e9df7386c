// Which architectures to measure next, so that few measurements tell the costs of all others.
//
// `candidates` are a random sample of what could be measured: they stand for the whole space, too.
#pragma once

#include <memory>

#include "predictor/feature_expansion.h"
#include "predictor/regressor.h"

namespace ladarts {

enum class Choice : uint8_t {
  random,         // as they come
  space_filling,  // each as far as can be from all measured ones, in standardised features (maximin)
  disagreement,   // where the model is least certain: the largest variance of the prediction
  telling         // whose measurement takes most variance from all candidates' predictions (I-optimal)
};

// "random", "space-filling", "disagreement", "telling". Throws Error for another text.
Choice parse_choice(const std::string& text);
const std::vector<std::string>& choice_names();

// What is known before a choice.
struct Known {
  FeatureMatrix measured;            // features of what was measured; may be empty
  FeatureMatrix pending;             // of what will be measured in any case; may be empty
  const Regressor* model = nullptr;  // fitted to `measured`, with covariance(); null: too few rows for one
};

// Indices of `count` different candidates (all of them where there are fewer), in the order of choice. Each
// counts as measured when the next is chosen, so that a batch holds no twins. Without a model, telling and
// disagreement use what a Gaussian process of `expansion` expects of costs that it knows nothing of
// (GpConstants::typical): spread over the space, too. Work grows with the square of the candidates.
std::vector<int64_t> choose(Choice choice, const FeatureMatrix& candidates, const Known& known,
                            const FeatureExpansion& expansion, int64_t count);

// The size of the next round of measurements, and how many of these are drawn at random (drawn_error.h).
struct Round {
  int64_t drawn = 0, chosen = 0;
};
inline constexpr int64_t kFirstRound = 10;  // rows before the first model
inline constexpr double kDrawnShare = 0.5;
// For `measured` rows of which `drawn` were drawn at random, and at most `left` more. Rounds grow with the
// rows, so that fitting costs little beside measuring.
Round next_round(int64_t measured, int64_t drawn, int64_t left, double drawn_share = kDrawnShare);

// The greedy step of the last two, for a covariance (N, N) and noise (N), of which the first `known` rows are
// or will be measured. Of `rows` is left what is not known after those chosen were measured, too.
std::vector<int64_t> choose_by_variance(Choice choice, RelativeCovariance& rows, int64_t known,
                                        int64_t count);

}  // namespace ladarts
