/** The keys of attributes that CEL can name without quotes. */

const keyForm = /^[A-Za-z_]\w*$/;
const reservedKeys = new Set(
  (
    'false in null true as break const continue else for function if import let loop package namespace return var ' +
    'void while'
  ).split(' '),
);

export function isPlainKey(key: string): boolean {
  return keyForm.test(key) && !reservedKeys.has(key);
}
