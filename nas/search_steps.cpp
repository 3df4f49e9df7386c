#include "nas/search_steps.h"

#include <cmath>
#include <deque>
#include <limits>
#include <optional>

#include "core/error.h"
#include "core/gradients.h"
#include "nas/latency_term.h"
#include "nas/step_output.h"
#include "ops/arithmetic.h"
#include "ops/flat.h"
#include "ops/losses.h"
#include "ops/optimizer.h"

namespace ladarts {

namespace {

enum : size_t {
  kWeightStep,
  kArchitectureStep,   // first order: gradient and Adam; second order: Adam alone
  kUnroll,             // w' = w - lr (mu buf + grad L_train + wd w)
  kUnrolledGradients,  // at w': d L_val / d w' and d (L_val + lambda LAT) / d alpha
  kPerturb,            // w = saved + r, a step along d L_val / d w'
  kTrainingAlpha,  // d L_train / d alpha over 2 |r|, times |d L_val / d w'|, added to the gradient of alpha
  kRestore,        // w = saved
  kPrograms
};

}  // namespace

struct SearchSteps::Programs {
  SearchStepConfig config;
  AugmentDesc augmentation;
  ArchitectureParameters architecture;
  ParameterSet weights;
  std::deque<Graph> graphs;
  Graph cost_graph{config.device};
  std::vector<Program> programs;
  std::optional<Program> cost_program;
  std::optional<RelaxationNoise> noise;

  StepBatch training, validation;
  Storage momentum, adam_m, adam_v, adam_step;
  Storage saved_weights, alpha_gradient;  // second order
  Storage lr = scalar(), architecture_lr = scalar(), lambda = scalar();
  Storage minus_lr = scalar(), minus_lr_momentum = scalar(), minus_lr_decay = scalar(),
          perturbation = scalar(), alpha_factor = scalar();
  Storage unrolled_norm, cost;
  std::optional<uint64_t> architecture_steps;  // as adam_step has it, where that is known
  // Loss and number of correct predictions of a step of each kind.
  StepOutput weight_output{config.device, SearchSteps::kStepsAhead},
      architecture_output{config.device, SearchSteps::kStepsAhead};

  Storage scalar() const { return Storage::create({1}, DType::f32, config.device); }

  Programs(const SearchStepConfig& c, const Regressor* predictor, const AugmentDesc& a)
      : config(c),
        augmentation(a),
        architecture(c.supernet.space, c.supernet.edge_normalisation, c.seed, c.device),
        weights(c.seed, c.device) {
    for (size_t i = 0; i < kPrograms; ++i) graphs.emplace_back(c.device);
    require(predictor || config.lambda == 0, "[search] lambda is {} but there is no predictor to weigh",
            config.lambda);
    require(config.batch > 0, "[search] batch is {}; give 1 or more", config.batch);
    const NetworkShape shape = resolve(config.supernet.shape, config.supernet.space);
    for (StepBatch* b : {&training, &validation}) *b = StepBatch(config.batch, shape.image, config.device);
    if (predictor && config.term.relaxation.random())
      noise.emplace(config.supernet.space, config.term.relaxation.draws, config.seed, config.device);
    lambda.set(config.lambda);
    architecture_lr.set(config.architecture_lr);
    record_weight_step();
    if (config.second_order) {
      record_second_order(predictor);
    } else {
      record_first_order(predictor);
    }
    compile_all();
    if (predictor) {
      cost = cost_graph.bind_output(record_term(cost_graph, *predictor));
      cost_program = compile(cost_graph);
    }
  }

  struct Loss {
    Tensor cross_entropy, correct, total;
  };

  // The supernet's loss on a batch; with a predictor, the latency term too.
  Loss record_loss(Graph& g, const StepBatch& batch, const Regressor* predictor) {
    const ArchitectureWeights mixture = record_architecture_weights(g, architecture);
    const Tensor logits =
        record_supernet(g, config.supernet, weights, mixture, batch.record_images(g, augmentation));
    const Tensor labels = batch.record_labels(g);
    Loss loss;
    loss.cross_entropy = cross_entropy(logits, labels);
    loss.correct = count_correct(logits, labels);
    loss.total = loss.cross_entropy;
    if (predictor && config.lambda != 0)
      loss.total = add(loss.cross_entropy, scale_by(record_term(g, *predictor), g.leaf(lambda, "lambda")));
    return loss;
  }

  Tensor record_term(Graph& g, const Regressor& predictor) {
    return record_latency_term(g, architecture, predictor, config.term, noise ? &*noise : nullptr);
  }

  // New draws at each architecture step; a search that goes on counts from where it stopped.
  void draw_noise() {
    if (!noise) return;
    if (!architecture_steps) architecture_steps = uint64_t(adam_step.item());
    noise->draw(*architecture_steps);
  }

  void record_adam(Graph& g) {
    ParameterSet& set = architecture.set();
    const Storage values = set.values();
    for (Storage* s : {&adam_m, &adam_v}) *s = Storage::create(values.shape(), DType::f32, config.device);
    adam_step = scalar();
    adam_update(g.leaf(values), g.leaf(set.gradients()), g.leaf(adam_m), g.leaf(adam_v), g.leaf(adam_step),
                g.leaf(architecture_lr),
                {.beta1 = config.architecture_beta1,
                 .beta2 = config.architecture_beta2,
                 .weight_decay = config.architecture_weight_decay});
  }

  void record_weight_step() {
    Graph& g = graphs[kWeightStep];
    const Loss loss = record_loss(g, training, nullptr);
    weight_output.bind(g, loss.cross_entropy, loss.correct);
    gradients(loss.total, weights.leaves(g), {.into = weights.gradient_storages()});
    const Storage values = weights.values();
    momentum = Storage::create(values.shape(), DType::f32, config.device);
    const Tensor gradient = g.leaf(weights.gradients());
    if (config.clip_norm > 0) clip_norm(gradient, config.clip_norm);
    sgd_update(g.leaf(values), gradient, g.leaf(momentum), g.leaf(lr),
               {.momentum = config.momentum, .weight_decay = config.weight_decay});
  }

  void record_first_order(const Regressor* predictor) {
    Graph& g = graphs[kArchitectureStep];
    const Loss loss = record_loss(g, validation, predictor);
    architecture_output.bind(g, loss.cross_entropy, loss.correct);
    gradients(loss.total, architecture.set().leaves(g), {.into = architecture.set().gradient_storages()});
    record_adam(g);
  }

  void record_second_order(const Regressor* predictor) {
    const Storage w = weights.values(), d_w = weights.gradients();
    ParameterSet& set = architecture.set();
    saved_weights = Storage::create(w.shape(), DType::f32, config.device);
    {
      Graph& g = graphs[kUnroll];
      gradients(record_loss(g, training, nullptr).total, weights.leaves(g),
                {.into = weights.gradient_storages()});
      flat_copy(g.leaf(saved_weights), g.leaf(w));
      flat_axpy(g.leaf(w), g.leaf(saved_weights), g.leaf(minus_lr_decay));
      flat_axpy(g.leaf(w), g.leaf(momentum), g.leaf(minus_lr_momentum));
      flat_axpy(g.leaf(w), g.leaf(d_w), g.leaf(minus_lr));
    }
    {
      Graph& g = graphs[kUnrolledGradients];
      const Loss loss = record_loss(g, validation, predictor);
      architecture_output.bind(g, loss.cross_entropy, loss.correct);
      std::vector<Tensor> wrt = weights.leaves(g);
      GradientOptions options{.into = weights.gradient_storages()};
      for (const Tensor& t : set.leaves(g)) wrt.push_back(t);
      for (const Storage& s : set.gradient_storages()) options.into.push_back(s);
      gradients(loss.total, wrt, options);
      alpha_gradient = Storage::create(set.values().shape(), DType::f32, config.device);
      flat_copy(g.leaf(alpha_gradient), g.leaf(set.gradients()));
      unrolled_norm = g.bind_output(flat_norm(g.leaf(d_w)));
    }
    {
      Graph& g = graphs[kPerturb];
      flat_copy(g.leaf(w), g.leaf(saved_weights));
      flat_step(g.leaf(w), g.leaf(d_w), g.leaf(unrolled_norm), g.leaf(perturbation));
    }
    {
      Graph& g = graphs[kTrainingAlpha];
      gradients(record_loss(g, training, nullptr).total, set.leaves(g), {.into = set.gradient_storages()});
      flat_axpy(g.leaf(alpha_gradient), g.leaf(set.gradients()),
                mul(g.leaf(alpha_factor), g.leaf(unrolled_norm)));
    }
    flat_copy(graphs[kRestore].leaf(w), graphs[kRestore].leaf(saved_weights));
    Graph& g = graphs[kArchitectureStep];
    flat_copy(g.leaf(set.gradients()), g.leaf(alpha_gradient));
    record_adam(g);
  }

  void compile_all() {
    std::vector<const Graph*> list;
    for (const Graph& g : graphs) list.push_back(&g);
    programs = compile_together(list);
  }

  void run_second_order(float learning_rate) {
    minus_lr.set(-learning_rate);
    minus_lr_momentum.set(-learning_rate * config.momentum);
    minus_lr_decay.set(-learning_rate * config.weight_decay);
    programs[kUnroll].run();
    programs[kUnrolledGradients].run();
    // Central difference of d L_train / d alpha over a step of 0.01 to each side along the validation
    // gradient of the unrolled weights. That gradient's norm stays on the device.
    constexpr float kLength = 0.01f;
    for (const float sign : {1.f, -1.f}) {
      perturbation.set(sign * kLength);
      alpha_factor.set(-sign * learning_rate / (2 * kLength));
      programs[kPerturb].run();
      programs[kTrainingAlpha].run();
    }
    programs[kRestore].run();
  }
};

SearchSteps::SearchSteps(const SearchStepConfig& config, const Regressor* predictor,
                         const AugmentDesc& augmentation)
    : programs_(std::make_unique<Programs>(config, predictor, augmentation)) {}
SearchSteps::~SearchSteps() = default;

const StepBatch& SearchSteps::training_batch() const {
  return programs_->training;
}
const StepBatch& SearchSteps::validation_batch() const {
  return programs_->validation;
}

void SearchSteps::queue_weight_step(float learning_rate) {
  programs_->lr.set(learning_rate);
  programs_->programs[kWeightStep].run();
  programs_->weight_output.queue();
}

void SearchSteps::queue_architecture_step(float learning_rate) {
  programs_->draw_noise();
  if (programs_->config.second_order) programs_->run_second_order(learning_rate);
  programs_->programs[kArchitectureStep].run();
  programs_->architecture_output.queue();
  if (programs_->architecture_steps) ++*programs_->architecture_steps;
}

StepResult SearchSteps::take_weight_result() {
  return programs_->weight_output.take();
}

StepResult SearchSteps::take_architecture_result() {
  return programs_->architecture_output.take();
}

StepResult SearchSteps::weight_step(float learning_rate) {
  queue_weight_step(learning_rate);
  return take_weight_result();
}

StepResult SearchSteps::architecture_step(float learning_rate) {
  queue_architecture_step(learning_rate);
  return take_architecture_result();
}

std::vector<float> SearchSteps::architecture_gradient() const {
  return programs_->architecture.set().gradients().to_vector();
}

double SearchSteps::relaxed_cost() {
  if (!programs_->cost_program) return std::numeric_limits<double>::quiet_NaN();
  programs_->draw_noise();
  programs_->cost_program->run();
  return programs_->cost.item();
}

ParameterSet& SearchSteps::weights() {
  return programs_->weights;
}
ArchitectureParameters& SearchSteps::architecture() {
  return programs_->architecture;
}

NamedStorages SearchSteps::state() {
  programs_->architecture_steps.reset();  // the caller may write another
  ParameterSet &weights = programs_->weights, &architecture = programs_->architecture.set();
  NamedStorages all = named_values(weights, "weights.");
  for (const NamedStorages& more : {named_values(architecture, "architecture."),
                                    named_slices(weights, programs_->momentum, "sgd.momentum."),
                                    named_slices(architecture, programs_->adam_m, "adam.m."),
                                    named_slices(architecture, programs_->adam_v, "adam.v.")})
    all.insert(all.end(), more.begin(), more.end());
  all.emplace_back("adam.step", programs_->adam_step);
  return all;
}

Program& SearchSteps::weight_program() {
  return programs_->programs[kWeightStep];
}
Program& SearchSteps::architecture_program() {
  return programs_->programs[programs_->config.second_order ? kUnrolledGradients : kArchitectureStep];
}

}  // namespace ladarts
