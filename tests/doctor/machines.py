"""Made-up machines: what torch, package metadata and the loader reported in real issue threads.

Each case names the thread. `cause` and `remedy` are fragments of what the doctor must say; the
remedy is one that the thread confirms, and `confirmed` is what it says, abridged. Where a thread
leaves out a detail that does not matter to the case (a GPU's exact name), a usual one stands here.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnswitch.doctor.state import Gpu, MachineState, TorchState, Wanted

V100 = Gpu("Tesla V100-SXM2-32GB", (7, 0))
T4 = Gpu("Tesla T4", (7, 5))
TI = Gpu("NVIDIA GeForce RTX 2080 Ti", (7, 5))
A100 = Gpu("NVIDIA A100-SXM4-80GB", (8, 0))
A40 = Gpu("NVIDIA A40", (8, 6))
RTX4090 = Gpu("NVIDIA GeForce RTX 4090", (8, 9))
RTX5090 = Gpu("NVIDIA GeForce RTX 5090", (12, 0))
ARCHS = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")

ANYTHING = Wanted()

SO = "/site-packages/flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so"
LIBC = f"/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.32' not found (required by {SO})"
CXX11 = "_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
ZEROS = (
    "_ZN2at4_ops5zeros4callEN3c108ArrayRefINS2_6SymIntEEENS2_8optionalINS2_10ScalarTypeEEENS6_"
    "INS2_6LayoutEEENS6_INS2_6DeviceEEENS6_IbEE"
)


@dataclass(frozen=True)
class Case:
    """One thread: the machine it tells of, and what the doctor must say."""

    thread: str
    state: MachineState
    cause: str
    remedy: str
    confirmed: str
    stops: tuple[str, ...] = ("flash_attn",)
    wanted: Wanted = ANYTHING


def torch(version: str, cuda: str | None = "12.1", **more) -> TorchState:
    return TorchState(version, cuda, **{"archs": (*ARCHS, "compute_90") if cuda else (), **more})


def broken(said: str, version: str, t: TorchState, gpu: Gpu = A100, **more) -> MachineState:
    """A machine whose flash-attn is installed and does not import."""
    return MachineState(
        t, gpus=(gpu,), packages={"torch": t.version, "flash-attn": version},
        import_errors={"flash_attn": f"ImportError: {said}"}, **more,
    )  # fmt: skip


def sound(t: TorchState, gpu: Gpu, version: str | None = None, **more) -> MachineState:
    packages = {"torch": t.version, **({"flash-attn": version} if version else {})}
    return MachineState(t, gpus=(gpu,) if gpu else (), packages=packages, **more)


CASES = (
    Case("Dao-AILab/flash-attention#954",
         broken(f"{SO}: undefined symbol: _ZN3c104cuda9SetDeviceEi", "2.5.8", torch("2.3.0")),
         "built against another torch than this one (2.3.0)", "whose name says torch2.3, cu12",
         "this wheel works: flash_attn-2.5.8+cu122torch2.3cxx11abiTRUE"),
    Case("Dao-AILab/flash-attention#854",
         broken(f"{SO}: undefined symbol: {ZEROS}", "2.5.5", torch("2.2.1")),
         f"undefined symbol {ZEROS}", "pip uninstall -y flash-attn && pip install flash-attn",
         "I uninstalled and reinstalled the flash_attn module to solve the problem"),
    Case("Dao-AILab/flash-attention#1122",
         broken("libcudart.so.11.0: cannot open shared object file: No such file or directory",
                "2.6.3", torch("2.3.1", "11.8")),
         "the loader does not find", "export LD_LIBRARY_PATH=$CONDA_PREFIX/lib:$LD_LIBRARY_PATH",
         "export LD_LIBRARY_PATH=$CONDA_PREFIX/lib:$LD_LIBRARY_PATH; this works for me"),
    Case("Dao-AILab/flash-attention#931",
         broken(f"{SO}: undefined symbol: _ZN3c104cuda9SetDeviceEi", "2.5.7", torch("2.3.0+cu121")),
         "undefined symbol _ZN3c104cuda9SetDeviceEi", "whose name says torch2.3",
         "we have new wheels compiled for pytorch 2.3.0; building from scratch resolved it"),
    Case("Dao-AILab/flash-attention#821",
         broken(f"{SO}: undefined symbol: {ZEROS}", "2.5.2", torch("2.2.0+cu118", "11.8")),
         "built against another torch than this one (2.2.0+cu118)", "--no-build-isolation",
         "Have you tried to compile manually? Thanks! Seems to work"),
    Case("Dao-AILab/flash-attention#940",
         broken(f"{SO}: undefined symbol: {CXX11}", "2.5.8", torch("2.3.0", cxx11_abi=False)),
         "with the C++11 ABI, this torch (2.3.0) without: ABI mismatch", "cxx11abiFALSE",
         "reinstall flash_attn using the instructions"),
    Case("Dao-AILab/flash-attention#1832",
         broken(f"{SO}: undefined symbol: {CXX11}", "2.6.3",
                torch("2.6.0", "12.8", cxx11_abi=False)),
         "ABI mismatch", "the release wheel whose name says torch2.6, cu12 and cxx11abiFALSE",
         "a wheel that fits the system information was installed and works"),
    Case("Dao-AILab/flash-attention#950",
         broken(f"{SO}: undefined symbol: _ZN3c104impl3cow11cow_deleterEPv", "2.5.8",
                torch("2.1.2", "11.7")),
         "built against another torch than this one (2.1.2)", "whose name says torch2.1",
         "solved by rolling back to 2.5.7, whose wheels are for torch 2.1"),
    Case("xiaoachen98/Open-LLaVA-NeXT#15",
         broken(f"{SO}: undefined symbol: _ZNK3c106SymIntltEl", "2.5.8", torch("2.1.2")),
         "undefined symbol _ZNK3c106SymIntltEl", "whose name says torch2.1",
         "try flash-attn==2.5.6"),
    Case("Dao-AILab/flash-attention#728",
         broken("libcudart.so.11.0: cannot open shared object file: No such file or directory",
                "2.3.6", torch("2.1.2", "12.1")),
         "wrong CUDA", "use the same CUDA for both",
         "solved by lowering the CUDA version from 12.1 to 11.8, which the wheel was for"),
    Case("Eyeline-Labs/FlashDepth#12",
         broken("/usr/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.32' not found", "2.8.0",
                torch("2.7.1+cu126", "12.6"), glibc="glibc 2.31"),
         "GLIBC_2.32, which is newer than this one (glibc 2.31)",
         "pip install flash-attn==2.7.4.post1 --no-build-isolation",
         "Downgrade flash-attn: pip install flash-attn==2.7.4.post1 --no-build-isolation"),
    Case("nvidia-cosmos/cosmos-transfer2.5#42",
         broken(LIBC,
                "2.8.3", torch("2.7.1"), glibc="glibc 2.31"),
         "needs the system's C library to have GLIBC_2.32", "flash-attn==2.7.4.post1",
         "it seems like you want v2.7.4.post1"),
    Case("SkyworkAI/Matrix-3D#28",
         broken(LIBC,
                "2.7.4", torch("2.7.0")),
         "GLIBC_2.32", "build it on this machine", "you need to compile the wheels of flash-attn"),
    Case("turboderp-org/exllamav2#358",
         broken("DLL load failed while importing flash_attn_2_cuda: The specified procedure could "
                "not be found.", "2.5.2", torch("2.2.1+cu121"), RTX4090, system="Windows"),
         "flash_attn_2_cuda does not fit this torch (2.2.1+cu121)", "rebuild it after each update",
         "had to rebuild my own after updating torch from 2.1 to 2.2"),
    Case("Dao-AILab/flash-attention#401",
         broken("No module named 'flash_attn_2_cuda'", "2.0.4", torch("2.1.0")),
         "its compiled part flash_attn_2_cuda is missing", "--no-build-isolation",
         "pip install flash-attn --no-build-isolation, or compile the source"),
    Case("Dao-AILab/flash-attention#933",
         broken("No module named 'flash_attn_2_cuda'", "2.7.2", torch("2.1.0"),
                architecture="aarch64"),
         "built without CUDA", "FLASH_ATTENTION_FORCE_BUILD=TRUE pip install flash-attn",
         "on aarch64, solved by building it from source"),
    Case("Dao-AILab/flash-attention#1499",
         broken("No module named 'flash_attn_2_cuda'", "2.7.4",
                torch("2.6.0+rocm6.2", None, hip="6.2"), Gpu("AMD Instinct MI250X")),
         "this torch is for ROCm", "FLASH_ATTENTION_TRITON_AMD_ENABLE=TRUE",
         "add FLASH_ATTENTION_TRITON_AMD_ENABLE=TRUE before the command"),
    Case("kijai/ComfyUI-Florence2#17", sound(torch("2.3.0+cu121"), RTX4090),
         "the package is not installed", "PyTorch's SDPA has FlashAttention of its own",
         "It's not installed. I don't notice any difference to sdpa"),
    Case("hiyouga/LlamaFactory#3464", sound(torch("2.1.0"), A100, "2.0.4"),
         "transformers takes FlashAttention 2 from 2.1.0 on", "'flash-attn>=2.1'",
         "you need flash_attn package version to be greater or equal than 2.1.0"),
    Case("huggingface/transformers#27002",
         broken("cannot import name 'flash_attn_func' from 'flash_attn'", "1.0.9", torch("2.1.0")),
         "this is FlashAttention 1 (1.0.9)", "'flash-attn>=2.1'",
         "make sure to have flash attention version greater than 2.0"),
    Case("open-mmlab/PIA#30",
         MachineState(torch("2.1.2+cpu", None), system="Windows",
                      packages={"torch": "2.1.2+cpu", "xformers": "0.0.23.post1"},
                      warnings={"xformers": "xFormers can't load C++/CUDA extensions. xFormers was "
                                "built for:\n    PyTorch 2.1.2+cu121 with CUDA 1201 (you have "
                                "2.1.2+cpu)"}),
         "built for torch 2.1.2+cu121 and do not load with torch 2.1.2+cpu",
         "install a torch with CUDA", "your pytorch is for the CPU; install one with CUDA", ()),
    Case("InternRobotics/PointLLM#47", sound(torch("2.0.1+cu117", "11.7"), V100, "2.3.0"),
         "needs compute capability 8.0 (Ampere) or newer, this has 7.0", "ask for no-flash",
         "you could try using vanilla attention", ("flash", "flash_attn")),
    Case("vllm-project/vllm#946", sound(torch("2.0.1", "11.8"), V100),
         "this has 7.0", "use float16", "Please use dtype half. I have solved it by float16",
         ("efficient",), Wanted("bfloat16")),
    Case("lm-sys/FastChat#399", sound(torch("2.0.0", "11.7"), V100),
         "bfloat16 has hardware from compute capability 8.0 on", "--bf16 False",
         "Change --bf16 to False, V100 does not support bf16", ("efficient",), Wanted("bfloat16")),
    Case("OptimalScale/LMFlow#251", sound(torch("2.0.0", "11.8"), T4),
         "this has 7.5", "--fp16 True", "T4 does not support bf16; change bf16 to fp16",
         ("efficient",), Wanted("bfloat16")),
    Case("OptimalScale/LMFlow#88", sound(torch("2.0.0", "11.7"), TI),
         "this has 7.5", "--fp16 True", "replace --bf16 by --fp16; now it had been solved",
         ("efficient",), Wanted("bfloat16")),
    Case("Hellod035/LeggedLab#26",
         sound(torch("2.5.1+cu121", archs=ARCHS), RTX5090),
         "no code for its architecture sm_120", "whl/cu128",
         "pip install --upgrade --pre torch torchvision --index-url .../cu128",
         ("blockwise", "flash")),
    Case("DreamTechAI/Direct3D-S2#32",
         sound(torch("2.5.1+cu121", archs=("sm_50", "sm_60", "sm_61", *ARCHS[2:])), RTX5090),
         "architecture not supported", "cu128", "The fix is to install the cu128 build",
         ("math", "efficient")),
    Case("Dao-AILab/flash-attention#152", sound(torch("2.0.0", "11.7"), A100, "2.5.8"),
         "takes float16 and bfloat16, not float32", "use standard attention",
         "You can use standard attention for fp32", ("flash", "flash_attn"), Wanted("float32")),
    Case("QwenLM/Qwen3#406", sound(torch("2.2.0"), A100, "2.5.8"),
         "not float32", "torch_dtype='auto'", "pass torch_dtype='auto', and it will use bfloat16",
         ("flash", "flash_attn"), Wanted("float32")),
    Case("unslothai/unsloth#827", sound(torch("2.3.0"), A100, "2.6.1"),
         "not float32", "bf16=True or fp16=True", "you forgot to set bf16 or fp16 in the trainer",
         ("flash", "flash_attn"), Wanted("float32", training=True)),
    Case("Dao-AILab/flash-attention#277", sound(torch("2.0.0"), A100, "1.0.9"),
         "FlashAttention 1 takes at most 128", "upgrade it to 2 or newer, which takes 256",
         "As of v2 we support all head dimensions up to 256", ("flash", "flash_attn"),
         Wanted("float16", 256)),
    Case("Dao-AILab/flash-attention#276", sound(torch("2.0.1"), A40, "1.0.9"),
         "backward pass for head width over 64 needs an A100 or H100", "upgrade it to 2 or newer",
         "As of v2, head dim > 192 backward requires A100 or H100", ("flash_attn",),
         Wanted("bfloat16", 128, training=True)),
    Case("huggingface/transformers#36383",
         MachineState(TorchState("2.4.0"), architecture="aarch64", npu="Ascend910B2",
                      packages={"torch": "2.4.0", "torch-npu": "2.4.0"}),
         "cannot be installed on Ascend", "attn_implementation='sdpa'",
         "if users want flash attention in NPU, they can set attn_implementation='sdpa'"),
    Case("serend1p1ty/SeqNet#36",
         MachineState(torch("2.2.1+cu121", cuda_error="The NVIDIA driver on your system is too old "
                            "(found version 11040). Please update your GPU driver"),
                      packages={"torch": "2.2.1+cu121"}, seen_gpus=("NVIDIA GeForce RTX 3090",)),
         "it supports CUDA 11.4, and torch 2.2.1+cu121 was built for CUDA 12.1",
         "update the NVIDIA driver, or install a torch that was built for CUDA 11.4",
         "update your GPU driver, or install a PyTorch compiled with your version of the driver",
         ("efficient", "flash", "flash_attn")),
)  # fmt: skip
