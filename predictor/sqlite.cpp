#include "predictor/sqlite.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace ladarts::sqlite {

namespace fs = std::filesystem;

namespace {

// A file name as a URI: '?', '#' and '%' would otherwise end or change it.
std::string file_uri(const fs::path& path, const char* parameters) {
  std::string uri = "file:";
  for (const char c : fs::absolute(path).string()) {
    if (c == '?' || c == '#' || c == '%')
      uri += fmt::format("%{:02X}", int(static_cast<unsigned char>(c)));
    else
      uri += c;
  }
  return uri + parameters;
}

// Reading a write-ahead log needs a shared-memory file beside the database. Where the folder cannot be
// written and no log is left, nobody else can be writing either, and the database may be read as it is.
bool must_read_as_immutable(const fs::path& path) {
  std::error_code ignored;
  const fs::path folder = fs::absolute(path).parent_path();
  return access(folder.c_str(), W_OK) != 0 && !fs::exists(path.string() + "-wal", ignored);
}

const char* remedy(int code, int system_error) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "another process keeps it locked; wait until that one is done, or end it";
    case SQLITE_NOTADB:
      return "it is not an SQLite database; give another path";
    case SQLITE_CORRUPT:
      return "the file is damaged; 'sqlite3 OLD .recover | sqlite3 NEW' saves what can be read";
    case SQLITE_FULL:
      return "the disk is full; free some space and run again: rows stored before are safe";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return "no permission to write the file or its folder";
    case SQLITE_CANTOPEN:
      return "check that the folder exists and that you may read and write it";
    default:
      break;
  }
  // A file that may not grow fails as a write error; SQLite has often forgotten the system's reason by then.
  const bool writing =
      code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_SHMSIZE || code == SQLITE_IOERR_FSYNC;
  if (writing || system_error == ENOSPC || system_error == EDQUOT || system_error == EFBIG)
    return "the file cannot grow: free some space, or raise the quota or file size limit, and run again; "
           "rows stored before are safe";
  return "rows stored before are safe";
}

}  // namespace

Database::Database(const fs::path& path, Mode mode, int busy_timeout_ms)
    : path_(path), busy_timeout_ms_(busy_timeout_ms) {
  if (mode == Mode::read_only) {
    open(file_uri(path, must_read_as_immutable(path) ? "?immutable=1" : ""), SQLITE_OPEN_READONLY);
  } else {
    open(file_uri(path, ""), SQLITE_OPEN_READWRITE | (mode == Mode::create ? SQLITE_OPEN_CREATE : 0));
  }
}

void Database::open(const std::string& uri, int flags) {
  const int code = sqlite3_open_v2(uri.c_str(), &db_, flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) {
    try {
      fail(code);
    } catch (...) {
      sqlite3_close(db_);  // a failed open leaves a handle to close
      throw;
    }
  }
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_busy_timeout(db_, busy_timeout_ms_);
}

Database::~Database() {
  sqlite3_close(db_);
}

void Database::fail(int code) const {
  const int system_error = db_ ? sqlite3_system_errno(db_) : 0;
  const bool io = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;
  ladarts::fail("[store] '{}': {}{}; {}", path_.string(), db_ ? sqlite3_errmsg(db_) : sqlite3_errstr(code),
                io && system_error ? fmt::format(" ({})", std::strerror(system_error)) : "",
                remedy(code, system_error));
}

void Database::exec(const std::string& sql) {
  const int code = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code);
}

int64_t Database::query_int(const std::string& sql) {
  Statement statement(*this, sql);
  return statement.step() ? statement.integer(0) : 0;
}

std::string Database::query_text(const std::string& sql) {
  Statement statement(*this, sql);
  return statement.step() ? statement.text(0) : "";
}

Statement::Statement(Database& db, std::string_view sql) : db_(db) {
  const int code = sqlite3_prepare_v2(db.handle(), sql.data(), int(sql.size()), &statement_, nullptr);
  if (code != SQLITE_OK) db.fail(code);
}

Statement::~Statement() {
  sqlite3_finalize(statement_);
}

Statement& Statement::bind(int index, int64_t value) {
  LADARTS_CHECK(sqlite3_bind_int64(statement_, index + 1, value) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind(int index, double value) {
  LADARTS_CHECK(sqlite3_bind_double(statement_, index + 1, value) == SQLITE_OK);
  return *this;
}

Statement& Statement::bind(int index, std::string_view value) {
  LADARTS_CHECK(sqlite3_bind_text64(statement_, index + 1, value.data() ? value.data() : "", value.size(),
                                    SQLITE_TRANSIENT, SQLITE_UTF8) == SQLITE_OK);
  return *this;
}

bool Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code != SQLITE_ROW && code != SQLITE_DONE) db_.fail(code);
  return code == SQLITE_ROW;
}

void Statement::reset() {
  sqlite3_reset(statement_);
}

std::string Statement::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return data ? std::string(data, size_t(sqlite3_column_bytes(statement_, column))) : "";
}

Transaction::Transaction(Database& db) : db_(db) {
  db_.exec("BEGIN IMMEDIATE");
}

Transaction::~Transaction() {
  // SQLite may have rolled back by itself after an error; then this statement has nothing to do.
  if (open_) sqlite3_exec(db_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  db_.exec("COMMIT");
  open_ = false;
}

}  // namespace ladarts::sqlite
