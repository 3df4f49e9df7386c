// A thin, throwing layer over SQLite's C interface. Internal to predictor/.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace ladarts::sqlite {

enum class Mode { read_only, read_write, create };

class Database {
 public:
  // Waits up to busy_timeout_ms for locks of others, at every call.
  Database(const std::filesystem::path& path, Mode mode, int busy_timeout_ms);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void exec(const std::string& sql);
  int64_t query_int(const std::string& sql);  // first column of the first row
  std::string query_text(const std::string& sql);
  sqlite3* handle() const { return db_; }
  const std::filesystem::path& path() const { return path_; }
  int busy_timeout_ms() const { return busy_timeout_ms_; }

  // Throws Error for the result code of the call that failed: path, cause, remedy.
  [[noreturn]] void fail(int code) const;

 private:
  void open(const std::string& uri, int flags);
  std::filesystem::path path_;
  int busy_timeout_ms_;
  sqlite3* db_ = nullptr;
};

// A prepared statement; parameters and columns count from 0.
class Statement {
 public:
  Statement(Database& db, std::string_view sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(int index, int64_t value);
  Statement& bind(int index, int value) { return bind(index, int64_t(value)); }
  Statement& bind(int index, double value);
  Statement& bind(int index, std::string_view value);
  bool step();   // whether there is a row
  void reset();  // for the next set of parameters

  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  double real(int column) const { return sqlite3_column_double(statement_, column); }
  std::string text(int column) const;

 private:
  Database& db_;
  sqlite3_stmt* statement_ = nullptr;
};

// Rolled back unless committed. Takes the write lock at once, so that a writer never finds it taken half-way.
class Transaction {
 public:
  explicit Transaction(Database& db);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database& db_;
  bool open_ = true;
};

}  // namespace ladarts::sqlite
