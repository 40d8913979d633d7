/** The type of a setting, its flag, and its row in help and documentation. */
import { type Kind, onOff } from './kinds.js';

export interface Setting {
  /** The environment variable. The flag follows from it. */
  readonly name: string;
  readonly kind: Kind<unknown>;
  readonly default?: string | number | boolean;
  readonly description: string;
  /** The meaning of a missing value, for a setting without a default. */
  readonly unset?: string;
  /** Returns the value that the configuration then has. */
  readonly valueIfUnset?: () => unknown;
}

export interface SettingTable {
  readonly [key: string]: Setting | SettingTable;
}

type ValueOf<S extends Setting> =
  | (S['kind'] extends Kind<infer T> ? T : never)
  | (S extends { default: unknown } | { valueIfUnset: unknown } ? never : undefined);

/** The configuration that a table describes. */
export type ValuesOf<T> = T extends Setting ? ValueOf<T> : { readonly [Key in keyof T]: ValuesOf<T[Key]> };

export function isSetting(entry: Setting | SettingTable): entry is Setting {
  return typeof entry.name === 'string';
}

/** GRPC_ADDRESS becomes grpc-address, and ROSTER_TOKEN becomes token. */
export function flagOf({ name }: Setting): string {
  return name
    .replace(/^ROSTER_/, '')
    .toLowerCase()
    .replaceAll('_', '-');
}

/** The name that commander gives to a flag: grpc-address becomes grpcAddress. */
export function optionOf(flag: string): string {
  return flag.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** A setting as help and documentation show it. */
export interface SettingRow {
  readonly name: string;
  /** Such as `--grpc-address`. */
  readonly flag: string;
  /** The text after the flag in help, such as `<host:port>`. */
  readonly placeholder: string;
  /** Whether the flag needs no value. */
  readonly isSwitch: boolean;
  /** The default, or the meaning of no value in brackets. */
  readonly default: string;
  readonly allowed: string;
  readonly description: string;
}

export function settingRows(table: SettingTable): SettingRow[] {
  return Object.values(table).flatMap((entry) => (isSetting(entry) ? rowOf(entry) : settingRows(entry)));
}

function rowOf(setting: Setting): SettingRow {
  return {
    name: setting.name,
    flag: `--${flagOf(setting)}`,
    placeholder: setting.kind.placeholder,
    isSwitch: setting.kind === onOff,
    default: setting.default === undefined ? `(${setting.unset ?? 'none'})` : String(setting.default),
    allowed: setting.kind.form,
    description: setting.description,
  };
}
