import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Creates all tables, and the functions that compute an email's key and the text for searches.
 *
 * Runs on Postgres 15 to 18, in the first schema of the search path, without extensions. The index for searches needs
 * pg_trgm, so src/store/search-index.ts creates it.
 */
export class CreateTables1795737600000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const statements = [...emailKeyFunctions, searchTextFunction, ...tables, ...firstRows];
    for (const statement of statements) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['change_feed', 'changes', 'directory', 'request_ids', 'users']) {
      await runner.query(`drop table ${table}`);
    }
    for (const name of ['search_text', 'email_key', 'fold_case', 'decode_idn_domain', 'decode_idn_label']) {
      await runner.query(`drop function ${name}`);
    }
  }
}

// Texts are compared by code point, regardless of the database's collation, so that an upgrade of libc or ICU never
// reorders an index or a page. Times have milliseconds, like a JavaScript Date.
const tables = [
  // The fill factor leaves room for updates. An update that fits into its page does not write to the indexes if no
  // indexed column changes, which halves its cost.
  `create table users (
    id uuid constraint users_pkey primary key,
    first_name text collate "C" not null,
    last_name text collate "C" not null default '',
    email text collate "C" not null,
    profile_image_url text collate "C" not null default '',
    attributes jsonb not null default '{}',
    create_time timestamptz(3) not null default now(),
    update_time timestamptz(3) not null default now(),
    version integer not null default 1
  ) with (fillfactor = 90)`,
  'create unique index users_email_key on users (email_key(email))',
  'create index users_create_time_id on users (create_time, id)',
  'create index users_first_name_id on users (first_name, id)',
  'create index users_last_name_id on users (last_name, id)',

  `create table request_ids (
    request_id uuid constraint request_ids_pkey primary key,
    digest bytea not null,
    user_ids uuid[] not null,
    create_time timestamptz(3) not null default now()
  )`,
  'create index request_ids_create_time on request_ids (create_time)',

  `create table directory (
    id uuid constraint directory_pkey primary key,
    secret bytea not null
  )`,
  'create unique index directory_is_one on directory ((true))',

  // user_id is not a foreign key, because a deletion is a change too. The types are those of users.v1.UserChange.
  `create table changes (
    seq bigint generated always as identity constraint changes_pkey primary key,
    xid xid8 not null default pg_current_xact_id(),
    user_id uuid not null,
    type smallint not null constraint changes_type check (type in (2, 3, 4)),
    change_time timestamptz(3) not null default now()
  )`,
  'create index changes_xid on changes (xid)',

  `create table change_feed (
    id uuid constraint change_feed_pkey primary key default gen_random_uuid(),
    xid xid8 not null default pg_current_xact_id(),
    database_oid oid not null,
    trimmed_xid xid8 not null default '0'
  )`,
  'create unique index change_feed_is_one on change_feed ((true))',
];

const firstRows = [
  // Two random UUIDs hold 244 random bits. pgcrypto would give 256, but is not allowed everywhere.
  `insert into directory (id, secret)
  values (gen_random_uuid(), uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))`,
  'insert into change_feed (database_oid) select oid from pg_database where datname = current_database()',
];

// With the first branch, for ASCII texts, a search that reads the whole table takes a quarter of the time.
const searchTextFunction = `
  create function search_text(first_name text, last_name text, email text) returns text immutable parallel safe language sql
  return case
    when octet_length(first_name) + octet_length(last_name) + octet_length(email)
      = char_length(first_name) + char_length(last_name) + char_length(email)
    then lower((first_name || chr(10) || last_name || chr(10) || email) collate "C") collate "und-x-icu"
    else lower(normalize(first_name || chr(10) || last_name || chr(10) || email, NFC) collate "und-x-icu") end`;

// The letters outside ASCII for which lower(upper(lower(letter))) is a different letter in Unicode 17, without letters
// that NFD decomposes. `foldedLetters` has those different letters, in the same order.
const letters =
  'µÆÐØÞĐĦıĲĿŁŊŒŦſƁƂƄƆƇƉƊƋƎƏƐƑƓƔƖƗƘƜƝƟƢƤƦƧƩƬƮƱƲƳƵƷƸƼǄǅǇǈǊǋǤǱǲǶǷȜȠȢȤȺȻȽȾɁɃɄɅɆɈɊɌɎͅͰͲͶͿΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩςϏϐϑϕϖϘϚϜϞϠϢϤϦϨϪϬϮϰϱϴϵϷϹϺϽϾϿЂЄЅІЈЉЊЋЏАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯѠѢѤѦѨѪѬѮѰѲѴѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӀӃӅӇӉӋӍӔӘӠӨӶӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖႠႡႢႣႤႥႦႧႨႩႪႫႬႭႮႯႰႱႲႳႴႵႶႷႸႹႺႻႼႽႾႿჀჁჂჃჄჅჇჍᎠᎡᎢᎣᎤᎥᎦᎧᎨᎩᎪᎫᎬᎭᎮᎯᎰᎱᎲᎳᎴᎵᎶᎷᎸᎹᎺᎻᎼᎽᎾᎿᏀᏁᏂᏃᏄᏅᏆᏇᏈᏉᏊᏋᏌᏍᏎᏏᏐᏑᏒᏓᏔᏕᏖᏗᏘᏙᏚᏛᏜᏝᏞᏟᏠᏡᏢᏣᏤᏥᏦᏧᏨᏩᏪᏫᏬᏭᏮᏯᏰᏱᏲᏳᏴᏵᲀᲁᲂᲃᲄᲅᲆᲇᲈᲉᲐᲑᲒᲓᲔᲕᲖᲗᲘᲙᲚᲛᲜᲝᲞᲟᲠᲡᲢᲣᲤᲥᲦᲧᲨᲩᲪᲫᲬᲭᲮᲯᲰᲱᲲᲳᲴᲵᲶᲷᲸᲹᲺᲽᲾᲿỺỼỾℲⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩⅪⅫⅬⅭⅮⅯↃⒶⒷⒸⒹⒺⒻⒼⒽⒾⒿⓀⓁⓂⓃⓄⓅⓆⓇⓈⓉⓊⓋⓌⓍⓎⓏⰀⰁⰂⰃⰄⰅⰆⰇⰈⰉⰊⰋⰌⰍⰎⰏⰐⰑⰒⰓⰔⰕⰖⰗⰘⰙⰚⰛⰜⰝⰞⰟⰠⰡⰢⰣⰤⰥⰦⰧⰨⰩⰪⰫⰬⰭⰮⰯⱠⱢⱣⱤⱧⱩⱫⱭⱮⱯⱰⱲⱵⱾⱿⲀⲂⲄⲆⲈⲊⲌⲎⲐⲒⲔⲖⲘⲚⲜⲞⲠⲢⲤⲦⲨⲪⲬⲮⲰⲲⲴⲶⲸⲺⲼⲾⳀⳂⳄⳆⳈⳊⳌⳎⳐⳒⳔⳖⳘⳚⳜⳞⳠⳢⳫⳭⳲꙀꙂꙄꙆꙈꙊꙌꙎꙐꙒꙔꙖꙘꙚꙜꙞꙠꙢꙤꙦꙨꙪꙬꚀꚂꚄꚆꚈꚊꚌꚎꚐꚒꚔꚖꚘꚚꜢꜤꜦꜨꜪꜬꜮꜲꜴꜶꜸꜺꜼꜾꝀꝂꝄꝆꝈꝊꝌꝎꝐꝒꝔꝖꝘꝚꝜꝞꝠꝢꝤꝦꝨꝪꝬꝮꝹꝻꝽꝾꞀꞂꞄꞆꞋꞍꞐꞒꞖꞘꞚꞜꞞꞠꞢꞤꞦꞨꞪꞫꞬꞭꞮꞰꞱꞲꞳꞴꞶꞸꞺꞼꞾꟀꟂꟄꟅꟆꟇꟉꟋꟌ꟎Ꟑ꟒꟔ꟖꟘꟚꟜꟵＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ𐐀𐐁𐐂𐐃𐐄𐐅𐐆𐐇𐐈𐐉𐐊𐐋𐐌𐐍𐐎𐐏𐐐𐐑𐐒𐐓𐐔𐐕𐐖𐐗𐐘𐐙𐐚𐐛𐐜𐐝𐐞𐐟𐐠𐐡𐐢𐐣𐐤𐐥𐐦𐐧𐒰𐒱𐒲𐒳𐒴𐒵𐒶𐒷𐒸𐒹𐒺𐒻𐒼𐒽𐒾𐒿𐓀𐓁𐓂𐓃𐓄𐓅𐓆𐓇𐓈𐓉𐓊𐓋𐓌𐓍𐓎𐓏𐓐𐓑𐓒𐓓𐕰𐕱𐕲𐕳𐕴𐕵𐕶𐕷𐕸𐕹𐕺𐕼𐕽𐕾𐕿𐖀𐖁𐖂𐖃𐖄𐖅𐖆𐖇𐖈𐖉𐖊𐖌𐖍𐖎𐖏𐖐𐖑𐖒𐖔𐖕𐲀𐲁𐲂𐲃𐲄𐲅𐲆𐲇𐲈𐲉𐲊𐲋𐲌𐲍𐲎𐲏𐲐𐲑𐲒𐲓𐲔𐲕𐲖𐲗𐲘𐲙𐲚𐲛𐲜𐲝𐲞𐲟𐲠𐲡𐲢𐲣𐲤𐲥𐲦𐲧𐲨𐲩𐲪𐲫𐲬𐲭𐲮𐲯𐲰𐲱𐲲𐵐𐵑𐵒𐵓𐵔𐵕𐵖𐵗𐵘𐵙𐵚𐵛𐵜𐵝𐵞𐵟𐵠𐵡𐵢𐵣𐵤𐵥𑢠𑢡𑢢𑢣𑢤𑢥𑢦𑢧𑢨𑢩𑢪𑢫𑢬𑢭𑢮𑢯𑢰𑢱𑢲𑢳𑢴𑢵𑢶𑢷𑢸𑢹𑢺𑢻𑢼𑢽𑢾𑢿𖹀𖹁𖹂𖹃𖹄𖹅𖹆𖹇𖹈𖹉𖹊𖹋𖹌𖹍𖹎𖹏𖹐𖹑𖹒𖹓𖹔𖹕𖹖𖹗𖹘𖹙𖹚𖹛𖹜𖹝𖹞𖹟𖺠𖺡𖺢𖺣𖺤𖺥𖺦𖺧𖺨𖺩𖺪𖺫𖺬𖺭𖺮𖺯𖺰𖺱𖺲𖺳𖺴𖺵𖺶𖺷𖺸𞤀𞤁𞤂𞤃𞤄𞤅𞤆𞤇𞤈𞤉𞤊𞤋𞤌𞤍𞤎𞤏𞤐𞤑𞤒𞤓𞤔𞤕𞤖𞤗𞤘𞤙𞤚𞤛𞤜𞤝𞤞𞤟𞤠𞤡';
const foldedLetters =
  'μæðøþđħiĳŀłŋœŧsɓƃƅɔƈɖɗƌǝəɛƒɠɣɩɨƙɯɲɵƣƥʀƨʃƭʈʊʋƴƶʒƹƽǆǆǉǉǌǌǥǳǳƕƿȝƞȣȥⱥȼƚⱦɂƀʉʌɇɉɋɍɏιͱͳͷϳαβγδεζηθικλμνξοπρστυφχψωσϗβθφπϙϛϝϟϡϣϥϧϩϫϭϯκρθεϸϲϻͻͼͽђєѕіјљњћџабвгдежзиклмнопрстуфхцчшщъыьэюяѡѣѥѧѩѫѭѯѱѳѵѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӏӄӆӈӊӌӎӕәӡөӷӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆⴀⴁⴂⴃⴄⴅⴆⴇⴈⴉⴊⴋⴌⴍⴎⴏⴐⴑⴒⴓⴔⴕⴖⴗⴘⴙⴚⴛⴜⴝⴞⴟⴠⴡⴢⴣⴤⴥⴧⴭꭰꭱꭲꭳꭴꭵꭶꭷꭸꭹꭺꭻꭼꭽꭾꭿꮀꮁꮂꮃꮄꮅꮆꮇꮈꮉꮊꮋꮌꮍꮎꮏꮐꮑꮒꮓꮔꮕꮖꮗꮘꮙꮚꮛꮜꮝꮞꮟꮠꮡꮢꮣꮤꮥꮦꮧꮨꮩꮪꮫꮬꮭꮮꮯꮰꮱꮲꮳꮴꮵꮶꮷꮸꮹꮺꮻꮼꮽꮾꮿᏸᏹᏺᏻᏼᏽвдосттъѣꙋᲊაბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰჱჲჳჴჵჶჷჸჹჺჽჾჿỻỽỿⅎⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅺⅻⅼⅽⅾⅿↄⓐⓑⓒⓓⓔⓕⓖⓗⓘⓙⓚⓛⓜⓝⓞⓟⓠⓡⓢⓣⓤⓥⓦⓧⓨⓩⰰⰱⰲⰳⰴⰵⰶⰷⰸⰹⰺⰻⰼⰽⰾⰿⱀⱁⱂⱃⱄⱅⱆⱇⱈⱉⱊⱋⱌⱍⱎⱏⱐⱑⱒⱓⱔⱕⱖⱗⱘⱙⱚⱛⱜⱝⱞⱟⱡɫᵽɽⱨⱪⱬɑɱɐɒⱳⱶȿɀⲁⲃⲅⲇⲉⲋⲍⲏⲑⲓⲕⲗⲙⲛⲝⲟⲡⲣⲥⲧⲩⲫⲭⲯⲱⲳⲵⲷⲹⲻⲽⲿⳁⳃⳅⳇⳉⳋⳍⳏⳑⳓⳕⳗⳙⳛⳝⳟⳡⳣⳬⳮⳳꙁꙃꙅꙇꙉꙋꙍꙏꙑꙓꙕꙗꙙꙛꙝꙟꙡꙣꙥꙧꙩꙫꙭꚁꚃꚅꚇꚉꚋꚍꚏꚑꚓꚕꚗꚙꚛꜣꜥꜧꜩꜫꜭꜯꜳꜵꜷꜹꜻꜽꜿꝁꝃꝅꝇꝉꝋꝍꝏꝑꝓꝕꝗꝙꝛꝝꝟꝡꝣꝥꝧꝩꝫꝭꝯꝺꝼᵹꝿꞁꞃꞅꞇꞌɥꞑꞓꞗꞙꞛꞝꞟꞡꞣꞥꞧꞩɦɜɡɬɪʞʇʝꭓꞵꞷꞹꞻꞽꞿꟁꟃꞔʂᶎꟈꟊɤꟍ꟏ꟑꟓꟕꟗꟙꟛƛꟶａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ𐐨𐐩𐐪𐐫𐐬𐐭𐐮𐐯𐐰𐐱𐐲𐐳𐐴𐐵𐐶𐐷𐐸𐐹𐐺𐐻𐐼𐐽𐐾𐐿𐑀𐑁𐑂𐑃𐑄𐑅𐑆𐑇𐑈𐑉𐑊𐑋𐑌𐑍𐑎𐑏𐓘𐓙𐓚𐓛𐓜𐓝𐓞𐓟𐓠𐓡𐓢𐓣𐓤𐓥𐓦𐓧𐓨𐓩𐓪𐓫𐓬𐓭𐓮𐓯𐓰𐓱𐓲𐓳𐓴𐓵𐓶𐓷𐓸𐓹𐓺𐓻𐖗𐖘𐖙𐖚𐖛𐖜𐖝𐖞𐖟𐖠𐖡𐖣𐖤𐖥𐖦𐖧𐖨𐖩𐖪𐖫𐖬𐖭𐖮𐖯𐖰𐖱𐖳𐖴𐖵𐖶𐖷𐖸𐖹𐖻𐖼𐳀𐳁𐳂𐳃𐳄𐳅𐳆𐳇𐳈𐳉𐳊𐳋𐳌𐳍𐳎𐳏𐳐𐳑𐳒𐳓𐳔𐳕𐳖𐳗𐳘𐳙𐳚𐳛𐳜𐳝𐳞𐳟𐳠𐳡𐳢𐳣𐳤𐳥𐳦𐳧𐳨𐳩𐳪𐳫𐳬𐳭𐳮𐳯𐳰𐳱𐳲𐵰𐵱𐵲𐵳𐵴𐵵𐵶𐵷𐵸𐵹𐵺𐵻𐵼𐵽𐵾𐵿𐶀𐶁𐶂𐶃𐶄𐶅𑣀𑣁𑣂𑣃𑣄𑣅𑣆𑣇𑣈𑣉𑣊𑣋𑣌𑣍𑣎𑣏𑣐𑣑𑣒𑣓𑣔𑣕𑣖𑣗𑣘𑣙𑣚𑣛𑣜𑣝𑣞𑣟𖹠𖹡𖹢𖹣𖹤𖹥𖹦𖹧𖹨𖹩𖹪𖹫𖹬𖹭𖹮𖹯𖹰𖹱𖹲𖹳𖹴𖹵𖹶𖹷𖹸𖹹𖹺𖹻𖹼𖹽𖹾𖹿𖺻𖺼𖺽𖺾𖺿𖻀𖻁𖻂𖻃𖻄𖻅𖻆𖻇𖻈𖻉𖻊𖻋𖻌𖻍𖻎𖻏𖻐𖻑𖻒𖻓𞤢𞤣𞤤𞤥𞤦𞤧𞤨𞤩𞤪𞤫𞤬𞤭𞤮𞤯𞤰𞤱𞤲𞤳𞤴𞤵𞤶𞤷𞤸𞤹𞤺𞤻𞤼𞤽𞤾𞤿𞥀𞥁𞥂𞥃';
const foldedIntoSeveral = {
  ß: 'ss',
  ẞ: 'ss',
  ŉ: 'ʼn',
  և: 'եւ',
  ẚ: 'aʾ',
  ﬀ: 'ff',
  ﬁ: 'fi',
  ﬂ: 'fl',
  ﬃ: 'ffi',
  ﬄ: 'ffl',
  ﬅ: 'st',
  ﬆ: 'st',
  ﬓ: 'մն',
  ﬔ: 'մե',
  ﬕ: 'մի',
  ﬖ: 'վն',
  ﬗ: 'մխ',
  // This variation selector only makes an emoji coloured. Domain names omit it.
  '\ufe0f': '',
};

const folded = [...foldedLetters];
const foldedLetter = {
  ...Object.fromEntries([...letters].map((letter, index) => [letter, folded[index]])),
  ...foldedIntoSeveral,
};

// docs/decisions/0023-email-key-folds-case.md has the rule and its reasons. Postgres may build an index without a
// search path, so the functions in plpgsql, which finds names at run time, call only built-in functions.
const emailKeyFunctions = [
  // RFC 3492, 6.2.
  `
    create function decode_idn_label(label text) returns text immutable strict parallel safe language plpgsql as $$
    -- Decodes a label of a domain: "xn--bcher-kva" is "bücher". Returns a label unchanged if it is not valid Punycode.
    declare
      code text := lower(substr(label, 5) collate "C");
      decoded text := coalesce(substring(code from '^(.*)-'), '');
      rest text := substring(code from '[^-]*$');
      code_point bigint := 128;
      place bigint := 0;
      bias integer := 72;
      previous bigint;
      weight bigint;
      threshold integer;
      step integer;
      digit integer;
      size integer;
    begin
      -- Labels have at most 63 characters in DNS. The limit also bounds the time.
      if lower(left(label, 4) collate "C") <> 'xn--' or rest = '' or length(label) > 63 then
        return label;
      end if;
      while rest <> '' loop
        previous := place;
        weight := 1;
        step := 36;
        loop
          digit := strpos('abcdefghijklmnopqrstuvwxyz0123456789', left(rest, 1)) - 1;
          if rest = '' or digit < 0 then
            return label;
          end if;
          rest := substr(rest, 2);
          place := place + digit * weight;
          threshold := least(greatest(step - bias, 1), 26);
          exit when digit < threshold;
          weight := weight * (36 - threshold);
          step := step + 36;
          if place > 2147483647 or weight > 2147483647 then
            return label;
          end if;
        end loop;
        size := length(decoded) + 1;
        -- Adapts the bias (RFC 3492, 6.1).
        previous := (place - previous) / case when previous = 0 then 700 else 2 end;
        previous := previous + previous / size;
        bias := 0;
        while previous > 455 loop
          previous := previous / 35;
          bias := bias + 36;
        end loop;
        bias := bias + 36 * previous / (previous + 38);
        code_point := code_point + place / size;
        place := place % size;
        if code_point > 1114111 or code_point between 55296 and 57343 then
          return label;
        end if;
        decoded := overlay(decoded placing chr(code_point::integer) from place::integer + 1 for 0);
        place := place + 1;
      end loop;
      return decoded;
    end $$`,
  `
    create function decode_idn_domain(email text) returns text immutable strict parallel safe language sql
    return coalesce(substring(email from '^.*@'), '') || (
      select coalesce(string_agg(decode_idn_label(label), '.' order by place), '')
      from unnest(string_to_array(substring(email from '[^@]*$'), '.')) with ordinality as labels(label, place)
    )`,
  `
    create function fold_case(original text) returns text immutable strict parallel safe language plpgsql as $$
    -- Returns the same text for texts with the same upper case. It has a table of letters, because new versions of ICU
    -- add letters, and a key must not change.
    declare
      letter text;
      folded text := '';
    begin
      foreach letter in array string_to_array(lower(normalize(original, NFD) collate "C"), null) loop
        folded := folded || coalesce('${JSON.stringify(foldedLetter)}'::jsonb ->> letter, letter);
      end loop;
      return normalize(folded, NFC);
    end $$`,
  // Two emails are equal if their keys are equal. Lower case is enough for ASCII emails, which nearly all are.
  `
    create function email_key(email text) returns text immutable parallel safe language sql
    return case
      when strpos(lower(email collate "C"), 'xn--') > 0 then fold_case(decode_idn_domain(email))
      when octet_length(email) = char_length(email) then lower(email collate "C")
      else fold_case(email) end`,
];
