// The hyperbolic head as TensorRT plugins (IPluginV3), TensorRT 10.0 and later.
//
// The interfaces of plugins are header-only: the library has no undefined TensorRT symbol and is
// loaded with IPluginRegistry::loadLibrary. Every operator is registered under two namespaces,
// because parsers differ in where they read it from: the node's attribute plugin_namespace
// ("edgesafe") or, since TensorRT 10.10, its domain ("ai.edgesafe").
#include <NvInfer.h>
#include <NvInferPlugin.h>
#include <cuda_runtime_api.h>

#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "kernels.cuh"

namespace {

using namespace nvinfer1;

constexpr char const* kVersion = "1";
constexpr char const* kNamespaces[] = {"edgesafe", "ai.edgesafe"};
constexpr char const* kRadiusField = "min_radius";
constexpr float kDefaultRadius = 0.1f;

enum class Kind { kExpMap0, kRootDistance, kHalfAperture, kTraverse, kLorentzDistance, kExteriorAngle };

struct Operator {
  Kind kind;
  char const* name;
  int32_t inputs;
};

// Points come first, the curvature last.
constexpr Operator kOperators[] = {
    {Kind::kExpMap0, "ExpMap0", 2},
    {Kind::kRootDistance, "RootDistance", 2},
    {Kind::kHalfAperture, "HalfAperture", 2},
    {Kind::kTraverse, "Traverse", 3},
    {Kind::kLorentzDistance, "LorentzDistance", 3},
    {Kind::kExteriorAngle, "ExteriorAngle", 3},
};

bool is_pairs(Kind kind) { return kind == Kind::kLorentzDistance || kind == Kind::kExteriorAngle; }
bool is_map(Kind kind) { return kind == Kind::kExpMap0 || kind == Kind::kTraverse; }

/// Rows (product of all dimensions but the last); -1 where there is none or too many.
int64_t rows_of(Dims const& dims) {
  if (dims.nbDims < 1) return -1;
  int64_t rows = 1;
  for (int32_t i = 0; i + 1 < dims.nbDims; ++i) rows *= dims.d[i];
  return rows <= INT32_MAX ? rows : -1;
}

int64_t volume_of(Dims const& dims) {
  int64_t volume = 1;
  for (int32_t i = 0; i < dims.nbDims; ++i) volume *= dims.d[i];
  return volume;
}

int32_t last_of(Dims const& dims) { return static_cast<int32_t>(dims.d[dims.nbDims - 1]); }

unsigned blocks_for(int64_t warps) {
  return static_cast<unsigned>((warps + edgesafe::kWarps - 1) / edgesafe::kWarps);
}

class HeadPlugin final : public IPluginV3,
                         public IPluginV3OneCore,
                         public IPluginV3OneBuild,
                         public IPluginV3OneRuntime {
 public:
  HeadPlugin(Operator const& op, char const* ns, float radius)
      : op_(op), namespace_(ns), radius_(radius) {
    field_ = PluginField{kRadiusField, &radius_, PluginFieldType::kFLOAT32, 1};
    fields_.nbFields = op_.kind == Kind::kHalfAperture ? 1 : 0;
    fields_.fields = &field_;
  }

  HeadPlugin(HeadPlugin const&) = delete;
  HeadPlugin& operator=(HeadPlugin const&) = delete;

  IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
    switch (type) {
      case PluginCapabilityType::kCORE: return static_cast<IPluginV3OneCore*>(this);
      case PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild*>(this);
      case PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime*>(this);
    }
    return nullptr;
  }

  IPluginV3* clone() noexcept override {
    return new (std::nothrow) HeadPlugin(op_, namespace_, radius_);
  }

  char const* getPluginName() const noexcept override { return op_.name; }
  char const* getPluginVersion() const noexcept override { return kVersion; }
  char const* getPluginNamespace() const noexcept override { return namespace_; }
  int32_t getNbOutputs() const noexcept override { return 1; }

  int32_t configurePlugin(DynamicPluginTensorDesc const* in, int32_t inputs,
                          DynamicPluginTensorDesc const*, int32_t outputs) noexcept override {
    if (inputs != op_.inputs || outputs != 1) return -1;
    return is_pairs(op_.kind) && (in[0].desc.dims.nbDims != 2 || in[1].desc.dims.nbDims != 2) ? -1
                                                                                              : 0;
  }

  int32_t getOutputDataTypes(DataType* types, int32_t outputs, DataType const* in,
                             int32_t inputs) const noexcept override {
    if (outputs != 1 || inputs != op_.inputs) return -1;
    // The head has no meaning in half precision.
    for (int32_t i = 0; i < inputs; ++i) {
      if (in[i] != DataType::kFLOAT) return -1;
    }
    types[0] = DataType::kFLOAT;
    return 0;
  }

  int32_t getOutputShapes(DimsExprs const* in, int32_t inputs, DimsExprs const*, int32_t,
                          DimsExprs* out, int32_t outputs, IExprBuilder&) noexcept override {
    if (inputs != op_.inputs || outputs != 1 || in[0].nbDims < 1) return -1;
    out[0] = in[0];
    if (is_pairs(op_.kind)) {
      if (in[0].nbDims != 2 || in[1].nbDims != 2) return -1;
      out[0].d[1] = in[1].d[0];
    } else if (!is_map(op_.kind)) {
      --out[0].nbDims;
    }
    return 0;
  }

  bool supportsFormatCombination(int32_t position, DynamicPluginTensorDesc const* io, int32_t,
                                 int32_t) noexcept override {
    return io[position].desc.type == DataType::kFLOAT &&
           io[position].desc.format == TensorFormat::kLINEAR;
  }

  int32_t onShapeChange(PluginTensorDesc const* in, int32_t inputs, PluginTensorDesc const*,
                        int32_t outputs) noexcept override {
    if (inputs != op_.inputs || outputs != 1 || rows_of(in[0].dims) < 0) return -1;
    if (op_.kind == Kind::kTraverse) {
      // One limit for all rows, or one per row.
      int64_t const limits = volume_of(in[1].dims);
      return limits == 1 || limits == rows_of(in[0].dims) ? 0 : -1;
    }
    return is_pairs(op_.kind) && last_of(in[0].dims) != last_of(in[1].dims) ? -1 : 0;
  }

  int32_t enqueue(PluginTensorDesc const* in, PluginTensorDesc const*, void const* const* inputs,
                  void* const* outputs, void*, cudaStream_t stream) noexcept override {
    auto const* x = static_cast<float const*>(inputs[0]);
    auto const* second = static_cast<float const*>(inputs[1]);
    auto const* c = static_cast<float const*>(inputs[op_.inputs - 1]);
    auto* y = static_cast<float*>(outputs[0]);
    auto const rows = static_cast<int>(rows_of(in[0].dims));
    int const d = last_of(in[0].dims);
    auto const others = is_pairs(op_.kind) ? static_cast<int>(in[1].dims.d[0]) : 1;
    if (rows < 0) return -1;
    if (rows == 0 || others == 0) return 0;
    dim3 const grid(blocks_for(static_cast<int64_t>(rows) * others));
    dim3 const block(edgesafe::kThreads);
    switch (op_.kind) {
      case Kind::kExpMap0:
        edgesafe_exp_map0<<<grid, block, 0, stream>>>(x, c, rows, d, y);
        break;
      case Kind::kRootDistance:
        edgesafe_root_distance<<<grid, block, 0, stream>>>(x, c, rows, d, y);
        break;
      case Kind::kHalfAperture: {
        int bits;
        std::memcpy(&bits, &radius_, sizeof bits);
        edgesafe_half_aperture<<<grid, block, 0, stream>>>(x, c, rows, d, bits, y);
        break;
      }
      case Kind::kTraverse:
        edgesafe_traverse<<<grid, block, 0, stream>>>(
            x, second, c, rows, d, static_cast<int>(volume_of(in[1].dims)), y);
        break;
      case Kind::kLorentzDistance:
        edgesafe_lorentz_distance<<<grid, block, 0, stream>>>(x, second, c, rows, others, d, y);
        break;
      case Kind::kExteriorAngle:
        edgesafe_exterior_angle<<<grid, block, 0, stream>>>(x, second, c, rows, others, d, y);
        break;
    }
    return cudaGetLastError() == cudaSuccess ? 0 : -1;
  }

  IPluginV3* attachToContext(IPluginResourceContext*) noexcept override { return clone(); }
  PluginFieldCollection const* getFieldsToSerialize() noexcept override { return &fields_; }

 private:
  Operator const& op_;
  char const* namespace_;
  float radius_;
  PluginField field_{};
  PluginFieldCollection fields_{};
};

class HeadCreator final : public IPluginCreatorV3One {
 public:
  HeadCreator(Operator const& op, char const* ns) : op_(op), namespace_(ns) {
    field_ = PluginField{kRadiusField, nullptr, PluginFieldType::kFLOAT32, 1};
    names_.nbFields = op_.kind == Kind::kHalfAperture ? 1 : 0;
    names_.fields = &field_;
  }

  char const* getPluginName() const noexcept override { return op_.name; }
  char const* getPluginVersion() const noexcept override { return kVersion; }
  char const* getPluginNamespace() const noexcept override { return namespace_; }
  PluginFieldCollection const* getFieldNames() noexcept override { return &names_; }

  IPluginV3* createPlugin(AsciiChar const*, PluginFieldCollection const* fields,
                          TensorRTPhase) noexcept override {
    float radius = kDefaultRadius;
    for (int32_t i = 0; fields != nullptr && i < fields->nbFields; ++i) {
      PluginField const& field = fields->fields[i];
      if (std::strcmp(field.name, kRadiusField) != 0 || field.data == nullptr) continue;
      if (field.type != PluginFieldType::kFLOAT32 || field.length != 1) return nullptr;
      radius = *static_cast<float const*>(field.data);
    }
    // Written so that NaN fails.
    if (!(radius > 0.0f && radius <= 1.0f)) return nullptr;
    return new (std::nothrow) HeadPlugin(op_, namespace_, radius);
  }

 private:
  Operator const& op_;
  char const* namespace_;
  PluginField field_{};
  PluginFieldCollection names_{};
};

/// All creators; they live as long as the library.
std::vector<IPluginCreatorInterface*> const& creators() {
  static std::vector<IPluginCreatorInterface*> const all = [] {
    std::vector<IPluginCreatorInterface*> made;
    for (char const* ns : kNamespaces) {
      for (Operator const& op : kOperators) made.push_back(new HeadCreator(op, ns));
    }
    return made;
  }();
  return all;
}

}  // namespace

// What IPluginRegistry::loadLibrary looks for.
#define EDGESAFE_EXPORT extern "C" __attribute__((visibility("default")))

EDGESAFE_EXPORT void setLoggerFinder(ILoggerFinder*) {}

EDGESAFE_EXPORT IPluginCreatorInterface* const* getCreators(int32_t& count) {
  count = static_cast<int32_t>(creators().size());
  return creators().data();
}
