// Drives the plugin library as TensorRT would, as far as that goes without a GPU; ends with 0 and
// one line per operator where every contract holds.
#include <NvInfer.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

using namespace nvinfer1;

#define EXPECT(condition)                                              \
  do {                                                                 \
    if (!(condition)) {                                                \
      std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition);     \
      std::exit(1);                                                    \
    }                                                                  \
  } while (false)

namespace {

// The interfaces forward to an implementation, which is TensorRT's elsewhere.
class Size final : public IDimensionExpr, private apiv::VDimensionExpr {
 public:
  explicit Size(int64_t value) : value_(value) { mImpl = this; }

 private:
  bool isConstant() const override { return true; }
  int64_t getConstantValue() const override { return value_; }
  bool isSizeTensor() const override { return false; }

  int64_t value_;
};

class Sizes final : public IExprBuilder, private apiv::VExprBuilder {
 public:
  Sizes() { mImpl = this; }

 private:
  IDimensionExpr const* constant(int64_t value) override {
    made_.push_back(std::make_unique<Size>(value));
    return made_.back().get();
  }
  IDimensionExpr const* operation(DimensionOperation, IDimensionExpr const&,
                                  IDimensionExpr const&) override {
    return nullptr;
  }
  IDimensionExpr const* declareSizeTensor(int32_t, IDimensionExpr const&,
                                          IDimensionExpr const&) override {
    return nullptr;
  }

  std::vector<std::unique_ptr<Size>> made_;
};

DynamicPluginTensorDesc dynamic(DataType type, TensorFormat format, std::vector<int64_t> dims) {
  DynamicPluginTensorDesc found{};
  found.desc.type = type;
  found.desc.format = format;
  found.desc.dims.nbDims = static_cast<int32_t>(dims.size());
  for (size_t i = 0; i < dims.size(); ++i) found.desc.dims.d[i] = dims[i];
  return found;
}

DimsExprs exprs(Sizes& sizes, std::vector<int64_t> dims) {
  DimsExprs found{};
  found.nbDims = static_cast<int32_t>(dims.size());
  for (size_t i = 0; i < dims.size(); ++i) found.d[i] = static_cast<IExprBuilder&>(sizes).constant(dims[i]);
  return found;
}

std::vector<int64_t> values(DimsExprs const& dims) {
  std::vector<int64_t> found;
  for (int32_t i = 0; i < dims.nbDims; ++i) found.push_back(dims.d[i]->getConstantValue());
  return found;
}

template <typename Capability>
Capability* capability(IPluginV3& plugin, PluginCapabilityType type) {
  auto* found = static_cast<Capability*>(plugin.getCapabilityInterface(type));
  EXPECT(found != nullptr);
  return found;
}

void drive(IPluginCreatorV3One& creator) {
  char const* name = creator.getPluginName();
  bool const pairs = !std::strcmp(name, "LorentzDistance") || !std::strcmp(name, "ExteriorAngle");
  bool const map = !std::strcmp(name, "ExpMap0") || !std::strcmp(name, "Traverse");
  bool const aperture = !std::strcmp(name, "HalfAperture");
  int32_t const inputs = pairs || !std::strcmp(name, "Traverse") ? 3 : 2;

  // As a parser does it: the fields of the node that the creator asks for.
  EXPECT(creator.getFieldNames()->nbFields == (aperture ? 1 : 0));
  float radius = 0.25f;
  PluginField field{"min_radius", &radius, PluginFieldType::kFLOAT32, 1};
  PluginFieldCollection fields{aperture ? 1 : 0, &field};
  std::unique_ptr<IPluginV3> plugin(creator.createPlugin(name, &fields, TensorRTPhase::kBUILD));
  EXPECT(plugin != nullptr);
  PluginFieldCollection none{0, nullptr};
  std::unique_ptr<IPluginV3> plain(creator.createPlugin(name, &none, TensorRTPhase::kRUNTIME));
  EXPECT(plain != nullptr);
  if (aperture) {
    float const wrong = -1.0f;
    PluginField bad{"min_radius", &wrong, PluginFieldType::kFLOAT32, 1};
    PluginFieldCollection one{1, &bad};
    EXPECT(creator.createPlugin(name, &one, TensorRTPhase::kBUILD) == nullptr);
    bad = PluginField{"min_radius", &radius, PluginFieldType::kINT32, 1};
    EXPECT(creator.createPlugin(name, &one, TensorRTPhase::kBUILD) == nullptr);
  }

  auto* core = capability<IPluginV3OneCore>(*plugin, PluginCapabilityType::kCORE);
  EXPECT(!std::strcmp(core->getPluginName(), name));
  EXPECT(!std::strcmp(core->getPluginNamespace(), creator.getPluginNamespace()));
  EXPECT(!std::strcmp(core->getPluginVersion(), "1"));

  auto* build = capability<IPluginV3OneBuild>(*plugin, PluginCapabilityType::kBUILD);
  EXPECT(build->getNbOutputs() == 1);
  Sizes sizes;
  std::vector<int64_t> const x{5, 24}, z{7, 24}, scalar{};
  std::vector<DimsExprs> in{exprs(sizes, x)};
  if (inputs == 3) in.push_back(exprs(sizes, pairs ? z : scalar));
  in.push_back(exprs(sizes, scalar));
  DimsExprs out{};
  EXPECT(build->getOutputShapes(in.data(), inputs, nullptr, 0, &out, 1, sizes) == 0);
  std::vector<int64_t> const wanted =
      map ? x : pairs ? std::vector<int64_t>{5, 7} : std::vector<int64_t>{5};
  EXPECT(values(out) == wanted);
  EXPECT(build->getOutputShapes(in.data(), inputs - 1, nullptr, 0, &out, 1, sizes) != 0);

  std::vector<DataType> types(inputs, DataType::kFLOAT);
  DataType type{};
  EXPECT(build->getOutputDataTypes(&type, 1, types.data(), inputs) == 0);
  EXPECT(type == DataType::kFLOAT);
  types[0] = DataType::kHALF;
  EXPECT(build->getOutputDataTypes(&type, 1, types.data(), inputs) != 0);

  for (int32_t position = 0; position <= inputs; ++position) {
    for (auto kind : {DataType::kFLOAT, DataType::kHALF, DataType::kINT8, DataType::kBF16}) {
      for (auto format : {TensorFormat::kLINEAR, TensorFormat::kCHW32, TensorFormat::kHWC8}) {
        std::vector<DynamicPluginTensorDesc> io(
            inputs + 1, dynamic(DataType::kFLOAT, TensorFormat::kLINEAR, x));
        io[position] = dynamic(kind, format, x);
        bool const good = kind == DataType::kFLOAT && format == TensorFormat::kLINEAR;
        EXPECT(build->supportsFormatCombination(position, io.data(), inputs, 1) == good);
      }
    }
  }

  std::vector<DynamicPluginTensorDesc> given{
      dynamic(DataType::kFLOAT, TensorFormat::kLINEAR, {-1, 24})};
  if (inputs == 3) {
    given.push_back(
        dynamic(DataType::kFLOAT, TensorFormat::kLINEAR, pairs ? std::vector<int64_t>{-1, 24} : scalar));
  }
  given.push_back(dynamic(DataType::kFLOAT, TensorFormat::kLINEAR, scalar));
  auto const result = dynamic(DataType::kFLOAT, TensorFormat::kLINEAR, {-1});
  EXPECT(build->configurePlugin(given.data(), inputs, &result, 1) == 0);
  EXPECT(build->configurePlugin(given.data(), inputs - 1, &result, 1) != 0);
  EXPECT(build->getWorkspaceSize(given.data(), inputs, &result, 1) == 0);

  auto* runtime = capability<IPluginV3OneRuntime>(*plugin, PluginCapabilityType::kRUNTIME);
  auto const* saved = runtime->getFieldsToSerialize();
  EXPECT(saved->nbFields == (aperture ? 1 : 0));
  if (aperture) EXPECT(*static_cast<float const*>(saved->fields[0].data) == radius);
  std::unique_ptr<IPluginV3> attached(runtime->attachToContext(nullptr));
  EXPECT(attached != nullptr);
  std::unique_ptr<IPluginV3> copy(attached->clone());
  EXPECT(copy != nullptr);
  auto* second = capability<IPluginV3OneRuntime>(*copy, PluginCapabilityType::kRUNTIME);
  auto const* again = second->getFieldsToSerialize();
  if (aperture) EXPECT(*static_cast<float const*>(again->fields[0].data) == radius);

  std::vector<PluginTensorDesc> now;
  for (auto& one : given) {
    for (int32_t i = 0; i < one.desc.dims.nbDims; ++i) {
      if (one.desc.dims.d[i] < 0) one.desc.dims.d[i] = 3;
    }
    now.push_back(one.desc);
  }
  PluginTensorDesc after = result.desc;
  EXPECT(second->onShapeChange(now.data(), inputs, &after, 1) == 0);
  if (pairs) {
    auto wrong = now;
    wrong[1].dims.d[1] = 23;
    EXPECT(second->onShapeChange(wrong.data(), inputs, &after, 1) != 0);
  }
  std::vector<void const*> pointers(inputs, nullptr);
  void* target = nullptr;
  // Without a GPU a launch must fail and say so; with one it would read through these addresses.
  if (dlopen("libcuda.so.1", RTLD_LAZY) == nullptr) {
    EXPECT(second->enqueue(now.data(), &after, pointers.data(), &target, nullptr, nullptr) != 0);
  }
  if (!std::strcmp(name, "Traverse")) {
    auto limits = now;
    limits[1].dims = Dims{2, {3, 1}};
    EXPECT(second->onShapeChange(limits.data(), inputs, &after, 1) == 0);
    limits[1].dims = Dims{2, {2, 1}};
    EXPECT(second->onShapeChange(limits.data(), inputs, &after, 1) != 0);
  }
  // An empty batch is nothing to launch.
  now[0].dims.d[0] = 0;
  EXPECT(second->enqueue(now.data(), &after, pointers.data(), &target, nullptr, nullptr) == 0);
  std::printf("%s::%s\n", creator.getPluginNamespace(), name);
}

}  // namespace

int main(int count, char** arguments) {
  EXPECT(count == 2);
  void* library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  using GetCreators = IPluginCreatorInterface* const* (*)(int32_t&);
  auto const get = reinterpret_cast<GetCreators>(dlsym(library, "getCreators"));
  EXPECT(get != nullptr);
  EXPECT(dlsym(library, "setLoggerFinder") != nullptr);
  int32_t found = 0;
  auto* const* creators = get(found);
  for (int32_t i = 0; i < found; ++i) drive(*static_cast<IPluginCreatorV3One*>(creators[i]));
  return 0;
}
