"""HF PEFT's side of bench/gpu.mjs: python3 gpu_peft.py make CONFIG FOLDER | python3 gpu_peft.py time FOLDER OPTIONS, both JSON.

make writes a LLaMA of random weights in bfloat16; time prints one JSON line: seconds a step (synchronised) and the card's peak memory.
"""
import json, sys, time, warnings

warnings.filterwarnings('ignore')
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

cuda = torch.cuda.is_available()


def make(config, folder):
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    if cuda:
        torch.set_default_device('cuda')
    LlamaForCausalLM(LlamaConfig(**config)).save_pretrained(folder, max_shard_size='50GB')


def adapter(method, rank, targets):
    import peft

    task = dict(task_type='CAUSAL_LM')
    weights = dict(target_modules=targets, **task)
    return {
        'lora': lambda: peft.LoraConfig(r=rank, lora_alpha=16, **weights),
        'dora': lambda: peft.LoraConfig(r=rank, lora_alpha=16, use_dora=True, **weights),
        'ia3': lambda: peft.IA3Config(feedforward_modules=[], **weights),
        'adalora': lambda: peft.AdaLoraConfig(
            init_r=rank + 4, target_r=rank, tinit=2, tfinal=2, deltaT=2, total_step=1000, **weights
        ),
        'prefix-tuning': lambda: peft.PrefixTuningConfig(num_virtual_tokens=20, **task),
        'prompt-tuning': lambda: peft.PromptTuningConfig(num_virtual_tokens=20, **task),
    }[method]()


def timed(folder, method, rank, targets, batch, seq, steps, dtype):
    """The fastest attention that works: flash through scaled_dot_product_attention, which a mask of ones would keep from it."""
    from peft import get_peft_model

    torch.manual_seed(0)
    device = 'cuda' if cuda else 'cpu'
    base = AutoModelForCausalLM.from_pretrained(folder, attn_implementation='sdpa', dtype=getattr(torch, dtype))
    model = get_peft_model(base, adapter(method, rank, targets)).to(device).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, fused=cuda)
    ids = torch.randint(3, base.config.vocab_size, (batch, seq), device=device)
    seconds = []
    for step in range(steps):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        loss = model(input_ids=ids, labels=ids, use_cache=method == 'prefix-tuning').loss
        loss.backward()
        optimizer.step()
        if method == 'adalora':
            model.base_model.update_and_allocate(step)
        optimizer.zero_grad()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    print(json.dumps(dict(
        impl='hf-peft', method=method, dtype=dtype, step_s_median=sorted(seconds)[len(seconds) // 2], step_s_min=min(seconds),
        card_mb=torch.cuda.max_memory_allocated() // 2**20 if cuda else None, loss=float(loss),
        torch=torch.__version__,
    )))


if __name__ == '__main__':
    what, *rest = sys.argv[1:]
    if what == 'make':
        make(json.loads(rest[0]), rest[1])
    else:
        timed(rest[0], **json.loads(rest[1]))
