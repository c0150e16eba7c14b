//===- Pickle.cpp - tensors of a pickle, executing nothing -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "frontend/checkpoint/Pickle.h"
#include "frontend/checkpoint/Error.h"

#include <cstring>
#include <deque>
#include <unordered_map>
#include <unordered_set>

namespace mambit::checkpoint {
namespace {

// A state dict needs some twenty values a tensor.
constexpr size_t maxValues = 1 << 20;
constexpr size_t maxStack = 1 << 20;
constexpr size_t maxItems = 1 << 22; // of all containers
constexpr size_t maxPickle = 64 << 20;

/// The opcodes read, with the names of Python's pickletools.
enum class Op : unsigned char {
  mark = '(',
  stop = '.',
  pop = '0',
  popMark = '1',
  dup = '2',
  binFloat = 'G',
  binInt = 'J',
  binInt1 = 'K',
  binInt2 = 'M',
  none = 'N',
  binPersId = 'Q',
  reduce = 'R',
  binString = 'T',
  shortBinString = 'U',
  binUnicode = 'X',
  append = 'a',
  build = 'b',
  global = 'c',
  appends = 'e',
  binGet = 'h',
  inst = 'i',
  longBinGet = 'j',
  binPut = 'q',
  longBinPut = 'r',
  setItem = 's',
  tuple = 't',
  setItems = 'u',
  emptyTuple = ')',
  emptyList = ']',
  emptyDict = '}',
  binBytes = 'B',
  shortBinBytes = 'C',
  proto = 0x80,
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  newTrue = 0x88,
  newFalse = 0x89,
  long1 = 0x8a,
  shortBinUnicode = 0x8c,
  binUnicode8 = 0x8d,
  stackGlobal = 0x93,
  memoize = 0x94,
  frame = 0x95,
};

/// What the globals known may be used for.
enum class Role {
  orderedDict,
  rebuildTensor,
  rebuildParameter,
  rebuildFromType,
  tensorType,
  storageType,
};

struct Global {
  std::string_view module, name;
  Role role;
  DType dtype = DType::f32; // of a storage type
};

constexpr Global globals[] = {
    {"collections", "OrderedDict", Role::orderedDict},
    {"torch._utils", "_rebuild_tensor_v2", Role::rebuildTensor},
    {"torch._utils", "_rebuild_parameter", Role::rebuildParameter},
    {"torch._utils", "_rebuild_parameter_with_state", Role::rebuildParameter},
    {"torch._tensor", "_rebuild_from_type_v2", Role::rebuildFromType},
    {"torch", "Tensor", Role::tensorType},
    {"torch.nn.parameter", "Parameter", Role::tensorType},
    {"torch", "DoubleStorage", Role::storageType, DType::f64},
    {"torch", "FloatStorage", Role::storageType, DType::f32},
    {"torch", "HalfStorage", Role::storageType, DType::f16},
    {"torch", "BFloat16Storage", Role::storageType, DType::bf16},
    {"torch", "LongStorage", Role::storageType, DType::i64},
    {"torch", "IntStorage", Role::storageType, DType::i32},
    {"torch", "ShortStorage", Role::storageType, DType::i16},
    {"torch", "CharStorage", Role::storageType, DType::i8},
    {"torch", "ByteStorage", Role::storageType, DType::u8},
    {"torch", "BoolStorage", Role::storageType, DType::boolean},
};

struct Value {
  enum class Kind {
    none,
    boolean,
    integer,
    real,
    string,
    bytes,
    tuple,
    list,
    dict,
    global,
    storage,
    tensor,
  };
  Kind kind;
  int64_t integer = 0;            // of a boolean, an integer; index of a view
  std::string_view text;          // of a string; a storage's bytes
  std::vector<Value *> items;     // of a tuple, a list; keys and values in turn
  const Global *global = nullptr; // also the type of a storage
};

/// A tensor as the pickle describes it, not yet checked.
struct View {
  const Value *storage;
  int64_t offset;
  Shape shape, strides;
};

const char *kindName(Value::Kind kind) {
  switch (kind) {
  case Value::Kind::none:
    return "None";
  case Value::Kind::boolean:
    return "bool";
  case Value::Kind::integer:
    return "int";
  case Value::Kind::real:
    return "float";
  case Value::Kind::string:
    return "str";
  case Value::Kind::bytes:
    return "bytes";
  case Value::Kind::tuple:
    return "tuple";
  case Value::Kind::list:
    return "list";
  case Value::Kind::dict:
    return "dict";
  case Value::Kind::global:
    return "global";
  case Value::Kind::storage:
    return "storage";
  case Value::Kind::tensor:
    return "tensor";
  }
  return "unknown";
}

/// The machine that a pickle is a program of. Values live in one pool, so that
/// neither nesting nor cycles can exhaust anything when they go.
class Unpickler {
public:
  Unpickler(std::string_view pickle, const std::string &name,
            const StorageLookup &lookup)
      : pickle(pickle), name(name), lookup(lookup) {}

  std::vector<Tensor> read();

private:
  using Kind = Value::Kind;

  template <typename... Parts>
  [[noreturn]] void fault(const Parts &...parts) {
    fail(name, ": pickle at byte ", opBegin, ": ", parts...);
  }

  // Reading.
  std::string_view take(uint64_t count);
  std::string_view takeLine();
  template <typename T>
  T takeInteger() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  // The stack.
  Value &make(Kind kind);
  void push(Value &value);
  Value &pushNew(Kind kind) {
    Value &value = make(kind);
    push(value);
    return value;
  }
  Value &top();
  Value &pop();
  Value &pop(Kind kind, const char *what);
  std::vector<Value *> popToMark();
  void setMemo(uint64_t index);
  void getMemo(uint64_t index);

  // Opcodes.
  Value &run();
  void step(Op op);
  void pushInteger(int64_t integer);
  void pushText(Kind kind, uint64_t size);
  void pushLong();
  void pushTuple(size_t count);
  void pushGlobal(std::string_view module, std::string_view symbol);
  void addItems(Value &container, const std::vector<Value *> &items);
  void setItems(const std::vector<Value *> &items);
  void appendItems(const std::vector<Value *> &items);

  // What globals and persistent ids stand for.
  void loadStorage();
  Value &call(const Global &global, const Value &args);
  Value &rebuildTensor(const Value &args);
  const Value &argument(const Value &args, size_t index, Kind kind,
                        const char *what);
  Tensor makeTensor(std::string_view key, const View &view) const;
  Shape integers(const Value &args, size_t index, const char *what);

  std::string_view pickle;
  const std::string &name;
  const StorageLookup &lookup;
  size_t at = 0, opBegin = 0;
  std::deque<Value> pool;
  std::vector<Value *> stack;
  std::vector<size_t> marks;
  size_t itemCount = 0;
  std::unordered_map<uint64_t, Value *> memo;
  std::vector<View> views;
};

std::string_view Unpickler::take(uint64_t count) {
  if (count > pickle.size() - at)
    fault("truncated: expected ", count, " more bytes, found ",
          pickle.size() - at);
  std::string_view result = pickle.substr(at, count);
  at += count;
  return result;
}

std::string_view Unpickler::takeLine() {
  size_t end = pickle.find('\n', at);
  if (end == std::string_view::npos)
    fault("truncated: expected the end of a line");
  std::string_view line = take(end - at);
  take(1);
  return line;
}

Value &Unpickler::make(Kind kind) {
  if (pool.size() == maxValues)
    fault("expected at most ", maxValues, " values");
  pool.push_back(Value{kind, 0, {}, {}, nullptr});
  return pool.back();
}

void Unpickler::push(Value &value) {
  if (stack.size() == maxStack)
    fault("expected at most ", maxStack, " values on the stack");
  stack.push_back(&value);
}

Value &Unpickler::top() {
  if (stack.size() <= (marks.empty() ? 0 : marks.back()))
    fault("expected a value on the stack, found none");
  return *stack.back();
}

Value &Unpickler::pop() {
  Value &value = top();
  stack.pop_back();
  return value;
}

Value &Unpickler::pop(Kind kind, const char *what) {
  Value &value = pop();
  if (value.kind != kind)
    fault(what, ": expected a ", kindName(kind), ", found a ",
          kindName(value.kind));
  return value;
}

std::vector<Value *> Unpickler::popToMark() {
  if (marks.empty())
    fault("expected a mark on the stack, found none");
  std::vector<Value *> items(stack.begin() + marks.back(), stack.end());
  stack.resize(marks.back());
  marks.pop_back();
  return items;
}

void Unpickler::setMemo(uint64_t index) {
  Value &value = top();
  if (memo.size() == maxValues)
    fault("expected at most ", maxValues, " values in the memo");
  memo[index] = &value;
}

void Unpickler::getMemo(uint64_t index) {
  auto found = memo.find(index);
  if (found == memo.end())
    fault("expected a value in the memo at ", index, ", found none");
  push(*found->second);
}

void Unpickler::pushInteger(int64_t integer) {
  pushNew(Kind::integer).integer = integer;
}

void Unpickler::pushText(Kind kind, uint64_t size) {
  pushNew(kind).text = take(size);
}

/// A little-endian integer of as many bytes as its first byte says.
void Unpickler::pushLong() {
  std::string_view bytes = take(takeInteger<uint8_t>());
  if (bytes.size() > 8)
    fault("expected an integer of at most 8 bytes, found ", bytes.size());
  bool isNegative = !bytes.empty() && (bytes.back() & 0x80);
  int64_t value = isNegative ? -1 : 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  pushInteger(value);
}

void Unpickler::pushTuple(size_t count) {
  std::vector<Value *> items(count);
  while (count-- > 0)
    items[count] = &pop();
  pushNew(Kind::tuple).items = std::move(items);
}

void Unpickler::pushGlobal(std::string_view module, std::string_view symbol) {
  for (const Global &global : globals)
    if (global.module == module && global.name == symbol) {
      pushNew(Kind::global).global = &global;
      return;
    }
  std::string full = std::string(module) + "." + std::string(symbol);
  fault("refused the global ", quote(full),
        ": expected tensors and nothing else");
}

/// A value can be the item of many, so items are not bounded by values.
void Unpickler::addItems(Value &container, const std::vector<Value *> &items) {
  itemCount += items.size();
  if (itemCount > maxItems)
    fault("expected at most ", maxItems, " items of lists, dicts and tuples");
  container.items.insert(container.items.end(), items.begin(), items.end());
}

void Unpickler::setItems(const std::vector<Value *> &items) {
  Value &dict = top();
  if (dict.kind != Kind::dict || items.size() % 2)
    fault("expected keys and values for a dict, found ", items.size(),
          " values for a ", kindName(dict.kind));
  addItems(dict, items);
}

void Unpickler::appendItems(const std::vector<Value *> &items) {
  Value &list = top();
  if (list.kind != Kind::list)
    fault("expected a list to append to, found a ", kindName(list.kind));
  addItems(list, items);
}

const Value &Unpickler::argument(const Value &args, size_t index, Kind kind,
                                 const char *what) {
  if (index >= args.items.size())
    fault(what, ": expected a ", kindName(kind), ", found no argument");
  const Value &value = *args.items[index];
  if (value.kind != kind)
    fault(what, ": expected a ", kindName(kind), ", found a ",
          kindName(value.kind));
  return value;
}

Shape Unpickler::integers(const Value &args, size_t index, const char *what) {
  constexpr size_t maxRank = 16;
  const Value &tuple = argument(args, index, Kind::tuple, what);
  if (tuple.items.size() > maxRank)
    fault(what, ": expected at most ", maxRank, " dimensions, found ",
          tuple.items.size());
  Shape result;
  for (size_t i = 0; i < tuple.items.size(); ++i) {
    result.push_back(argument(tuple, i, Kind::integer, what).integer);
    if (result.back() < 0)
      fault(what, ": expected none below 0, found ", toString(result));
  }
  return result;
}

/// ('storage', type, key, location, element count)
void Unpickler::loadStorage() {
  const Value &id = pop(Kind::tuple, "persistent id");
  if (argument(id, 0, Kind::string, "persistent id").text != "storage")
    fault("persistent id: expected a storage, found ",
          quote(id.items[0]->text));
  const Value &type = argument(id, 1, Kind::global, "storage type");
  if (type.global->role != Role::storageType)
    fault("storage type: expected a storage class, found ",
          quote(type.global->name));
  std::string_view key = argument(id, 2, Kind::string, "storage key").text;
  int64_t count = argument(id, 4, Kind::integer, "storage size").integer;

  std::string_view bytes = lookup(key);
  int64_t size;
  if (count < 0 ||
      __builtin_mul_overflow(count, dtypeSize(type.global->dtype), &size) ||
      static_cast<uint64_t>(size) != bytes.size())
    fault("storage ", quote(key), ": expected ", count, " elements of ",
          dtypeName(type.global->dtype), ", found ", bytes.size(), " bytes");
  Value &storage = pushNew(Kind::storage);
  storage.global = type.global;
  storage.text = bytes;
  storage.integer = count;
}

/// (storage, offset, shape, strides, requires_grad, hooks, ...)
Value &Unpickler::rebuildTensor(const Value &args) {
  View view;
  view.storage = &argument(args, 0, Kind::storage, "tensor's storage");
  view.offset = argument(args, 1, Kind::integer, "tensor's offset").integer;
  view.shape = integers(args, 2, "tensor's shape");
  view.strides = integers(args, 3, "tensor's strides");
  if (view.strides.size() != view.shape.size())
    fault("tensor's strides: expected as many as dimensions in ",
          toString(view.shape), ", found ", toString(view.strides));
  Value &value = make(Kind::tensor);
  value.integer = static_cast<int64_t>(views.size());
  views.push_back(std::move(view));
  return value;
}

/// Whether the last element is inside the storage. So that a few bytes cannot
/// pose as a large tensor, a view has no more elements than its storage.
bool isInside(const View &view) {
  int64_t available = view.storage->integer;
  std::optional<int64_t> count = checkedElementCount(view.shape);
  if (!count || *count > available || view.offset < 0 ||
      view.offset > available)
    return false;
  if (*count == 0)
    return true;
  int64_t last = view.offset;
  for (size_t i = 0; i < view.shape.size(); ++i) {
    int64_t extent;
    if (__builtin_mul_overflow(view.shape[i] - 1, view.strides[i], &extent) ||
        __builtin_add_overflow(last, extent, &last))
      return false;
  }
  return last < available;
}

Tensor Unpickler::makeTensor(std::string_view key, const View &view) const {
  if (!isInside(view))
    fail(name, ": ", quote(key), ": expected a tensor inside its storage of ",
         view.storage->integer, " elements, found shape ", toString(view.shape),
         " with strides ", toString(view.strides), " at offset ", view.offset);
  DType dtype = view.storage->global->dtype;
  const char *begin = view.storage->text.data();
  Tensor tensor;
  tensor.key = std::string(key);
  tensor.file = name;
  tensor.dtype = dtype;
  tensor.shape = view.shape;
  tensor.strides = view.strides;
  tensor.data = reinterpret_cast<const unsigned char *>(begin) +
                view.offset * dtypeSize(dtype);
  return tensor;
}

Value &Unpickler::call(const Global &global, const Value &args) {
  switch (global.role) {
  case Role::orderedDict:
    if (!args.items.empty())
      fault("OrderedDict: expected no argument, found ", args.items.size());
    return make(Kind::dict);
  case Role::rebuildTensor:
    return rebuildTensor(args);
  case Role::rebuildParameter:
    // (tensor, requires_grad, hooks, ...)
    return const_cast<Value &>(argument(args, 0, Kind::tensor, "parameter"));
  case Role::rebuildFromType: {
    // (function, type, arguments, state)
    const Global &function =
        *argument(args, 0, Kind::global, "function of a type").global;
    const Global &type = *argument(args, 1, Kind::global, "type").global;
    if (type.role != Role::tensorType ||
        (function.role != Role::rebuildTensor &&
         function.role != Role::rebuildParameter))
      fault("expected to rebuild a tensor, found ", quote(function.name),
            " for ", quote(type.name));
    return call(function, argument(args, 2, Kind::tuple, "arguments"));
  }
  case Role::tensorType:
  case Role::storageType:
    break;
  }
  fault("expected a function, found the type ", quote(global.name));
}

void Unpickler::step(Op op) {
  switch (op) {
  case Op::frame:
    takeInteger<uint64_t>();
    return;
  case Op::mark:
    if (marks.size() == maxStack)
      fault("expected at most ", maxStack, " marks");
    marks.push_back(stack.size());
    return;
  case Op::pop:
    // On an empty part of the stack, Python drops the mark.
    if (!marks.empty() && marks.back() == stack.size())
      marks.pop_back();
    else
      pop();
    return;
  case Op::popMark:
    popToMark();
    return;
  case Op::dup:
    push(top());
    return;

  case Op::none:
    pushNew(Kind::none);
    return;
  case Op::newTrue:
  case Op::newFalse:
    pushNew(Kind::boolean).integer = op == Op::newTrue;
    return;
  case Op::binInt:
    pushInteger(takeInteger<int32_t>());
    return;
  case Op::binInt1:
    pushInteger(takeInteger<uint8_t>());
    return;
  case Op::binInt2:
    pushInteger(takeInteger<uint16_t>());
    return;
  case Op::long1:
    pushLong();
    return;
  case Op::binFloat:
    take(8);
    pushNew(Kind::real);
    return;
  case Op::shortBinString:
  case Op::shortBinUnicode:
    pushText(Kind::string, takeInteger<uint8_t>());
    return;
  case Op::binString:
  case Op::binUnicode:
    pushText(Kind::string, takeInteger<uint32_t>());
    return;
  case Op::binUnicode8:
    pushText(Kind::string, takeInteger<uint64_t>());
    return;
  case Op::shortBinBytes:
    pushText(Kind::bytes, takeInteger<uint8_t>());
    return;
  case Op::binBytes:
    pushText(Kind::bytes, takeInteger<uint32_t>());
    return;

  case Op::emptyTuple:
    pushTuple(0);
    return;
  case Op::tuple1:
    pushTuple(1);
    return;
  case Op::tuple2:
    pushTuple(2);
    return;
  case Op::tuple3:
    pushTuple(3);
    return;
  case Op::tuple: {
    std::vector<Value *> items = popToMark();
    addItems(pushNew(Kind::tuple), items);
    return;
  }
  case Op::emptyList:
    pushNew(Kind::list);
    return;
  case Op::emptyDict:
    pushNew(Kind::dict);
    return;
  case Op::append: {
    Value &value = pop();
    appendItems({&value});
    return;
  }
  case Op::appends:
    appendItems(popToMark());
    return;
  case Op::setItem: {
    Value &value = pop();
    Value &key = pop();
    setItems({&key, &value});
    return;
  }
  case Op::setItems:
    setItems(popToMark());
    return;

  case Op::binPut:
    setMemo(takeInteger<uint8_t>());
    return;
  case Op::longBinPut:
    setMemo(takeInteger<uint32_t>());
    return;
  case Op::memoize:
    setMemo(memo.size());
    return;
  case Op::binGet:
    getMemo(takeInteger<uint8_t>());
    return;
  case Op::longBinGet:
    getMemo(takeInteger<uint32_t>());
    return;

  case Op::global: {
    std::string_view module = takeLine();
    pushGlobal(module, takeLine());
    return;
  }
  case Op::stackGlobal: {
    std::string_view symbol = pop(Kind::string, "global's name").text;
    pushGlobal(pop(Kind::string, "global's module").text, symbol);
    return;
  }
  case Op::binPersId:
    loadStorage();
    return;
  case Op::reduce: {
    const Value &args = pop(Kind::tuple, "arguments");
    const Global &global = *pop(Kind::global, "function").global;
    push(call(global, args));
    return;
  }
  case Op::build:
    // A state dict's _metadata, say; the values of a dict are items instead.
    pop();
    if (top().kind != Kind::dict)
      fault("expected the state of an OrderedDict, found that of a ",
            kindName(top().kind));
    return;
  case Op::inst: {
    // Makes an object of a class: to name the global, if it is none of ours.
    std::string_view module = takeLine();
    pushGlobal(module, takeLine());
    break;
  }
  case Op::stop:
  case Op::proto:
    break;
  }
  fault("opcode ", static_cast<int>(op), " is not supported");
}

Value &Unpickler::run() {
  if (pickle.size() > maxPickle)
    fault("expected at most ", maxPickle, " bytes, found ", pickle.size());
  constexpr int minProtocol = 2, maxProtocol = 5;
  Op first{takeInteger<uint8_t>()};
  int protocol = takeInteger<uint8_t>();
  if (first != Op::proto || protocol < minProtocol || protocol > maxProtocol)
    fault("expected a pickle of protocol ", minProtocol, " to ", maxProtocol,
          ", found something else");
  while (true) {
    opBegin = at;
    Op op{takeInteger<uint8_t>()};
    if (op == Op::stop)
      return pop();
    step(op);
  }
}

std::vector<Tensor> Unpickler::read() {
  const Value &result = run();
  if (result.kind != Kind::dict)
    fail(name, ": expected a dict of tensors, found a ", kindName(result.kind));
  std::vector<Tensor> tensors;
  std::unordered_set<std::string_view> keys;
  for (size_t i = 0; i < result.items.size(); i += 2) {
    const Value &key = *result.items[i], &value = *result.items[i + 1];
    if (key.kind != Kind::string)
      fail(name, ": expected keys of type str, found a ", kindName(key.kind));
    if (value.kind != Kind::tensor)
      fail(name, ": ", quote(key.text), ": expected a tensor, found a ",
           kindName(value.kind));
    if (!keys.insert(key.text).second)
      fail(name, ": duplicate key ", quote(key.text));
    tensors.push_back(makeTensor(key.text, views[value.integer]));
  }
  return tensors;
}

} // namespace

std::vector<Tensor> readPickle(std::string_view pickle, const std::string &name,
                               const StorageLookup &lookup) {
  return Unpickler(pickle, name, lookup).read();
}

} // namespace mambit::checkpoint
