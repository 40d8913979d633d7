/** The cultures that people come from, with the locale of their names, and how many of 100 people each has. */

export interface Culture {
  /** A locale of Faker. */
  readonly locale: string;
  /** ISO 3166, for the attribute `country`. */
  readonly country: string;
  readonly weight: number;
  /** Names that Faker cannot write in Latin letters for an email: each as it is written, and as it sounds. */
  readonly names?: { readonly first: readonly SpelledName[]; readonly last: readonly SpelledName[] };
}

export type SpelledName = readonly [written: string, latin: string];

// A kanji has several readings, so no transliteration of single characters finds the right one.
const japanese = {
  first: [
    ['陽菜', 'hina'],
    ['葵', 'aoi'],
    ['さくら', 'sakura'],
    ['美咲', 'misaki'],
    ['結衣', 'yui'],
    ['恵子', 'keiko'],
    ['由美子', 'yumiko'],
    ['直樹', 'naoki'],
    ['大輔', 'daisuke'],
    ['健太', 'kenta'],
    ['翔太', 'shota'],
    ['拓也', 'takuya'],
    ['浩', 'hiroshi'],
    ['ゆかり', 'yukari'],
    ['隆', 'takashi'],
    ['蓮', 'ren'],
  ],
  last: [
    ['佐藤', 'sato'],
    ['鈴木', 'suzuki'],
    ['高橋', 'takahashi'],
    ['田中', 'tanaka'],
    ['伊藤', 'ito'],
    ['渡辺', 'watanabe'],
    ['山本', 'yamamoto'],
    ['中村', 'nakamura'],
    ['小林', 'kobayashi'],
    ['加藤', 'kato'],
    ['吉田', 'yoshida'],
    ['山田', 'yamada'],
    ['佐々木', 'sasaki'],
    ['松本', 'matsumoto'],
    ['井上', 'inoue'],
    ['木村', 'kimura'],
  ],
} as const;

export const cultures: readonly Culture[] = [
  { locale: 'en_US', country: 'US', weight: 9 },
  { locale: 'en_GB', country: 'GB', weight: 6 },
  { locale: 'en_IN', country: 'IN', weight: 6 },
  { locale: 'en_NG', country: 'NG', weight: 3 },
  { locale: 'en_GH', country: 'GH', weight: 2 },
  { locale: 'zu_ZA', country: 'ZA', weight: 2 },
  { locale: 'de', country: 'DE', weight: 6 },
  { locale: 'fr', country: 'FR', weight: 5 },
  { locale: 'es', country: 'ES', weight: 4 },
  { locale: 'es_MX', country: 'MX', weight: 4 },
  { locale: 'pt_BR', country: 'BR', weight: 4 },
  { locale: 'it', country: 'IT', weight: 3 },
  { locale: 'nl', country: 'NL', weight: 2 },
  { locale: 'sv', country: 'SE', weight: 2 },
  { locale: 'da', country: 'DK', weight: 1 },
  { locale: 'fi', country: 'FI', weight: 1 },
  { locale: 'pl', country: 'PL', weight: 3 },
  { locale: 'cs_CZ', country: 'CZ', weight: 2 },
  { locale: 'hu', country: 'HU', weight: 1 },
  { locale: 'ro', country: 'RO', weight: 1 },
  { locale: 'tr', country: 'TR', weight: 3 },
  { locale: 'vi', country: 'VN', weight: 3 },
  { locale: 'id_ID', country: 'ID', weight: 2 },
  { locale: 'el', country: 'GR', weight: 2 },
  { locale: 'ru', country: 'RU', weight: 3 },
  { locale: 'uk', country: 'UA', weight: 3 },
  { locale: 'ka_GE', country: 'GE', weight: 1 },
  { locale: 'hy', country: 'AM', weight: 1 },
  { locale: 'he', country: 'IL', weight: 1 },
  { locale: 'ar', country: 'SA', weight: 3 },
  { locale: 'fa', country: 'IR', weight: 2 },
  { locale: 'ne', country: 'NP', weight: 1 },
  { locale: 'th', country: 'TH', weight: 1 },
  { locale: 'zh_CN', country: 'CN', weight: 4 },
  { locale: 'zh_TW', country: 'TW', weight: 1 },
  { locale: 'ko', country: 'KR', weight: 2 },
  { locale: 'ja', country: 'JP', weight: 3, names: japanese },
];

export const departments: Readonly<Record<string, readonly string[]>> = {
  Engineering: ['Software Engineer', 'Site Reliability Engineer', 'Data Engineer', 'Staff Engineer', 'QA Engineer'],
  Product: ['Product Manager', 'Product Designer', 'UX Researcher', 'Technical Writer'],
  Sales: ['Account Executive', 'Sales Engineer', 'Account Manager', 'Sales Representative'],
  Support: ['Support Specialist', 'Support Engineer', 'Customer Success Manager'],
  Operations: ['Operations Analyst', 'Office Manager', 'Logistics Coordinator', 'Buyer'],
  Finance: ['Accountant', 'Financial Analyst', 'Payroll Specialist', 'Auditor'],
  People: ['Recruiter', 'HR Business Partner', 'Learning Specialist'],
  Legal: ['Legal Counsel', 'Paralegal', 'Compliance Officer'],
};
