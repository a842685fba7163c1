"""The cases of make_golden.py that are one method each, by HF PEFT's config classes."""
import peft
import torch
import transformers

# Parameters whose start is neutral (zeros, ones): moved off it, so that every gradient says something.
NEUTRAL = ("lora_E", "ia3_l", "miss_block", "randlora_lambda", "boft_s", "trainable_tokens", "lora_B.default.bias", "beft_bias", "pvera_lambda",
           "supertuning_values", "adaption_gate", "psoft_R.default.vector")


def method_cases(arch, targets, task):
    def case(cls, **options):
        return lambda: getattr(peft, cls)(**{"target_modules": targets, **options, **task})

    def prompt(cls, **options):
        return lambda: getattr(peft, cls)(**options, **task)

    cases = {
        "poly": case("PolyConfig", r=2, n_tasks=3, n_skills=2, n_splits=2, init_weights=False),
        "multitask-prompt-tuning": prompt("MultitaskPromptTuningConfig", num_virtual_tokens=3, num_tasks=3, num_ranks=2),
        "hira": case("HiraConfig", r=2, init_weights=False),
        "gralora": case("GraloraConfig", r=4, gralora_k=2, alpha=6, init_weights=False),
        "delora": case("DeloraConfig", r=3, delora_lambda=2, init_weights=False),
        "frod": case("FrodConfig", sparse_rate=0.05, init_weights=False, progressbar=False),
        "road": case("RoadConfig", group_size=4, init_weights=False),
        "c3a": case("C3AConfig", block_size=4, layers_to_transform=[1]),
        "waveft": case("WaveFTConfig", n_frequency=20, wavelet_family="db2", init_weights=False),
        "vblora": case("VBLoRAConfig", r=2, num_vectors=7, vector_length=4, topk=3),
        "unilora": case("UniLoraConfig", r=2, theta_d_length=11, init_weights=False),
        "lily": case("LilyConfig", r=3, num_B=2, init_weights=False),
        "pvera": case("PveraConfig", r=4, d_initial=0.3),
        "glora": case("GloraConfig", r=2, init_weights=False),
        "peanut": case("PeanutConfig", r=3, depth=1, act_fn="gelu", init_weights=False),
        "deft": case("DeftConfig", r=3, decomposition_method="qr", alpha=6),
        "beft": case("BeftConfig"),
        "psoft": case("PsoftConfig", r=6, psoft_alpha=9, init_weights=False),
        "adamss": case("AdamssConfig", r=5, num_subspaces=3, subspace_rank=2, init_weights=None),
        "osf": case("OSFConfig", effective_rank=3),
        "supertuning": case("SupertuningConfig", sparsity=0.9),
        "tinylora": case("TinyLoraConfig", r=3, u=5, init_weights="uniform", init_v_bound=0.5),
    }
    if task.get("task_type") == "CAUSAL_LM":
        cases["xlora"] = lambda: peft.XLoraConfig(hidden_size=16, adapters=experts(arch, "q_proj", "v_proj", "up_proj"), **task)
        cases["xlora-layers"] = lambda: peft.XLoraConfig(hidden_size=16, adapters=experts(arch, "q_proj", "v_proj", "up_proj"), layerwise_scalings=True, top_k_lora=2, enable_softmax=False,
                                                         enable_softmax_topk=True, xlora_depth=3, xlora_size=7, global_scaling_weight=1.5, **task)
    down, up = ("down_proj", "o_proj") if arch == "llama" else ("output.dense", "key")
    cases["bdlora"] = case("LoraConfig", r=4, lora_alpha=6, init_lora_weights=False, target_modules=[*targets, down, up], use_bdlora=peft.BdLoraConfig(target_modules_bd_a=[down], target_modules_bd_b=list(targets), nblocks=2, match_strict=False))
    cases["kasa"] = case("LoraConfig", r=3, lora_alpha=6, init_lora_weights=False, kasa_config=peft.KasaConfig(beta=0.02, gamma=0.03))
    cases["lora-fa"] = case("LoraConfig", r=3, lora_alpha=6, init_lora_weights=False)
    cases["mica"] = case("LoraConfig", r=3, lora_alpha=6, init_lora_weights="mica")
    if arch == "llama":
        cases |= {
            "hira-embedding": case("HiraConfig", r=2, init_weights=False, target_modules=["embed_tokens", "down_proj"]),
            "gralora-hybrid": case("GraloraConfig", r=4, gralora_k=4, hybrid_r=3, init_weights=False),
            "delora-patterns": case("DeloraConfig", r=2, target_modules=["q_proj", "up_proj"], rank_pattern={"up_proj": 4}, lambda_pattern={"q_proj": 3.5}, init_weights=False),
            "cartridge": prompt("CartridgeConfig", num_virtual_tokens=4, num_frozen_tokens=2),
            "cpt": prompt("CPTConfig", cpt_token_ids=[5, 9, 3, 8, 20], cpt_tokens_type_mask=[1, 2, 2, 3, 4], opt_projection_epsilon=0.6, opt_projection_format_epsilon=0.3),
            "frod-wide": case("FrodConfig", sparse_rate=0.02, target_modules=["v_proj", "down_proj"], layers_to_transform=[1], progressbar=False),
            "adaption-prompt": prompt("AdaptionPromptConfig", adapter_len=3, adapter_layers=1),
            "adaption-prompt-all": prompt("AdaptionPromptConfig", adapter_len=4, adapter_layers=2),
            "road-2": case("RoadConfig", variant="road_2", group_size=8, init_weights=False),
            "road-4": case("RoadConfig", variant="road_4", group_size=2, init_weights=False),
            "c3a-pattern": case("C3AConfig", block_size=8, block_size_pattern={"v_proj": 2}, init_weights="gaussian", layers_to_transform=[0]),
            "waveft-haar": case("WaveFTConfig", n_frequency=16, proportional_parameters=True, init_weights=False, target_modules=["q_proj", "down_proj"]),
            "waveft-sparse": case("WaveFTConfig", n_frequency=9, use_idwt=False, init_weights=False),
            "waveft-odd": case("WaveFTConfig", n_frequency=12, wavelet_family="sym4", n_frequency_pattern={"v_proj": 5}, init_weights=False),
            "unilora-saved": case("UniLoraConfig", r=1, theta_d_length=200, save_indices=True, init_weights=False),
            "lily-shared": case("LilyConfig", r=2, num_B=3, stride_A=2, scaling=2.0, init_weights=False, target_modules=["q_proj", "k_proj", "down_proj"]),
            "pvera-drawn": case("PveraConfig", r=3, save_projection=False, projection_prng_key=5),
            "psoft-neumann": case("PsoftConfig", r=5, psoft_alpha=5, ab_svd_init="pissa_init", use_cayley_neumann=True, num_cayley_neumann_terms=4, cayley_neumann_eps=0.3, psoft_mag_a=False, init_weights=False, target_modules=["k_proj", "up_proj"]),
            "psoft-free": case("PsoftConfig", r=4, psoft_alpha=8, psoft_orth=False, psoft_mag_b=False, psoft_svd="lowrank", init_weights=False),
            "adamss-allocated": case("AdamssConfig", r=6, num_subspaces=4, subspace_rank=3, use_dynamic_rank=True, svd_threshold=0.3, use_asa=True, asa_target_subspaces=5, init_warmup=1, final_warmup=7, mask_interval=2, asa_importance_beta=0.7, asa_uncertainty_beta=0.9, asa_schedule_exponent=2.0, init_weights=None, target_modules=["q_proj", "v_proj", "down_proj"]),
            "glora-vector": case("GloraConfig", config_A_B="vector", init_weights=False),
            "glora-constant": case("GloraConfig", config_A_B="constant", config_C="none", config_D_E="none", init_weights=False),
            "peanut-deep": case("PeanutConfig", r=2, depth=2, act_fn="silu", scaling=0.5, init_weights=False, target_modules=["o_proj", "up_proj"]),
            "deft-relu": case("DeftConfig", r=2, init_weights=False, init_scale=4.0),
            "deft-para": case("DeftConfig", r=2, para=True, decomposition_method="qr"),
            "osf-random": case("OSFConfig", rank_pattern={"q_proj": 0.25}, init_weights=False, target_modules=["q_proj", "up_proj", "down_proj"]),
            "supertuning-lora": case("SupertuningConfig", sparsity=0.95, select_top=False, r=2, save_precomputed_indices=False, init_weights=False),
            "tinylora-tied": case("TinyLoraConfig", r=2, u=4, weight_tying=0.5, save_projection=False, init_weights="uniform", init_v_bound=0.5, target_modules=["embed_tokens", "q_proj", "v_proj"]),
        }
    if arch == "bert":
        cases["glora-bias"] = case("GloraConfig", config_A_B="none", config_C="vector", config_D_E="vector", init_weights=False)
    return cases


def experts(arch, *targets):
    """Small LoRA adapters, one for each target, from the tests' own folder; HF PEFT applies them where they are called 0, 1, ..."""
    folders = {}
    for i, target in enumerate(targets):
        folder = folders[str(i)] = f"test/golden/{arch}/experts/{i}"
        base = transformers.AutoModelForCausalLM.from_pretrained(f"test/golden/{arch}/model")
        torch.manual_seed(i)
        peft.get_peft_model(base, peft.LoraConfig(r=2 + i, lora_alpha=3, target_modules=[target, "o_proj"], init_lora_weights=False, use_rslora=i == 1)).save_pretrained(folder)
    return folders


def case_inputs(config):
    """What a case is fed besides the batch: the task of each of its three rows."""
    tasks = getattr(config, "n_tasks", None) or getattr(config, "num_tasks", None)
    return {"task_ids": torch.tensor([0, 2, 1])} if tasks else {}
