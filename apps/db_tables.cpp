#include "apps/db_actions.h"
#include "apps/format.h"
#include "apps/network_options.h"
#include "apps/store_filter_options.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "nas/inference_network.h"
#include "nas/table_import.h"
#include "predictor/store_csv.h"
#include "predictor/units.h"

namespace ladarts {
namespace {

using Access = MeasurementStore::Access;

class ExportAction : public Command {
 public:
  std::string name() const override { return "export"; }
  std::string summary() const override { return "write rows as CSV, which db import reads without loss"; }
  std::string example() const override {
    return "ladarts db export latency.db --metric latency --out latency.csv";
  }
  void declare(CLI::App& app) override {
    add_store_argument(app, db_);
    app.add_option("--out", out_, "where the table goes; standard output if not given")->option_text("FILE");
    filter_.declare(app);
  }

  Json run(const CommonOptions& common) override {
    require(!common.json || !out_.empty(), "[db] with --json the table needs a file of its own; give --out");
    const auto rows = MeasurementStore(db_, Access::read_only).rows(filter_.filter());
    csv_ = to_csv(rows);
    if (!out_.empty()) write_file_atomically(out_, csv_);
    return {{"store", db_}, {"rows", rows.size()}, {"out", out_}};
  }

  std::string text(const Json& r) const override {
    if (out_.empty()) return csv_;
    return fmt::format("{} rows written to {}\n", with_separators(r["rows"]), out_);
  }

 private:
  std::string db_, out_, csv_;
  StoreFilterOptions filter_;
};

class ImportAction : public Command {
 public:
  std::string name() const override { return "import"; }
  std::string summary() const override {
    return "read rows from CSV: exported ones, or others' measurements";
  }
  std::string example() const override {
    return "ladarts db import all.db exported.csv\n"
           "  ladarts db import boards.db latency.csv --space nasbench201 --architectures arch_str \\\n"
           "      --columns gold_6240_ms=\"Xeon Gold 6240\" '*_a50_ms' --unit ms --kind cpu";
  }
  void declare(CLI::App& app) override {
    add_store_argument(app, db_);
    app.add_option("table", table_, "CSV file; one that db export wrote needs no options")->required();
    const char* group = "A table of others' measurements";
    app.add_option("--architectures", architectures_, "column that holds them")
        ->option_text("NAME")
        ->group(group);
    app.add_option(
           "--columns", columns_,
           "columns of costs, each with the name of its device where its own does not say; * stands for "
           "any text")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->option_text("NAME[=DEVICE] ...")
        ->group(group);
    app.add_option("--metric", context_.metric, "what the numbers are")
        ->check(CLI::IsMember(metric_names()))
        ->option_text("NAME [latency]")
        ->group(group);
    app.add_option("--unit", unit_,
                   "their unit; latency takes " + units_of("latency") + ", energy " + units_of("energy") +
                       ", peak_memory " + units_of("peak_memory") + ", counts " + units_of("macs"))
        ->option_text("UNIT")
        ->group(group);
    app.add_option("--kind", context_.device_kind, "kind of the devices: cpu, cuda, phone, ...")
        ->option_text("TEXT [other]")
        ->group(group);
    app.add_option("--batch", context_.batch, "images at once")
        ->check(CLI::PositiveNumber)
        ->option_text("N [1]")
        ->group(group);
    app.add_option("--measured-threads", context_.threads, "CPU threads")
        ->check(CLI::PositiveNumber)
        ->option_text("N [1]")
        ->group(group);
    app.add_option("--precision", context_.precision, "of the numbers in the network")
        ->option_text("TEXT [f32]")
        ->group(group);
    add_network_options(app, network_);
    context_.device_kind = "other";
  }

  Json run(const CommonOptions&) override {
    const CsvTable table = read_csv(table_);
    ImportedTable imported;
    if (is_store_csv(table)) {
      require(columns_.empty() && unit_.empty() && architectures_.empty(),
              "[db] {} was written by ladarts db export and says all by itself; leave out --columns, --unit "
              "and --architectures",
              table_);
      imported.rows = from_csv(table);
    } else {
      imported = read_table(table);
    }
    MeasurementStore store(db_);
    RowProgress progress("import", db_, int64_t(imported.rows.size()));
    progress.follow(store);
    const int64_t added = store.insert(imported.rows);
    progress.finish();
    return {{"store", db_},
            {"rows", imported.rows.size()},
            {"added", added},
            {"present", int64_t(imported.rows.size()) - added},
            {"empty_cells", imported.empty_cells}};
  }

  std::string text(const Json& r) const override {
    const auto empty = r["empty_cells"].get<int64_t>();
    return fmt::format("{}: {} rows added, {} were there{}\n", text_of(r["store"]),
                       with_separators(r["added"]), with_separators(r["present"]),
                       empty > 0 ? fmt::format("; {} empty cells left out", with_separators(empty)) : "");
  }

 private:
  ImportedTable read_table(const CsvTable& table) {
    require(
        !architectures_.empty() && !unit_.empty() && !columns_.empty(),
        "[db] {} was not written by ladarts db export: give --architectures, --columns and --unit, and the "
        "--space that the architectures are of",
        table_);
    TableImport how{.space = network_.load_space(),
                    .context = context_,
                    .unit = unit_,
                    .architecture_column = architectures_,
                    .columns = columns_};
    how.context.space = how.space.id();
    how.context.network = network_text(network_.shape(), how.space);
    how.context.image_size = network_.image;
    return import_table(table, how);
  }

  std::string db_, table_, architectures_, unit_;
  std::vector<std::string> columns_;
  CostContext context_;
  NetworkOptions network_;
};

}  // namespace

std::unique_ptr<Command> make_db_export() {
  return std::make_unique<ExportAction>();
}
std::unique_ptr<Command> make_db_import() {
  return std::make_unique<ImportAction>();
}

}  // namespace ladarts
