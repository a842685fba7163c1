/** HF PEFT wraps the base model; keys of its files start with the wrapper's path. */
const keyPrefix = 'base_model.model.'

/** The key of a tensor that belongs to a module. */
export const moduleKey = (name: string): string => keyPrefix + name
/** The key of a declared tensor: its own where it says one, else by its name. */
export const fileKey = ({ name, key }: { name: string; key?: string }): string => key ?? moduleKey(name)
