/** A page that calls the gateway with fetch and JSON, without packages or generated code. */
const deadlineMs = 2000;
// A real page would know these from its URL or from a search.
const productIds = ['note-g', 'compiler', 'moth', 'tape'];

const gateway = await fetch('/gateway').then((response) => response.text());

async function listOffers() {
  const response = await fetch(`${gateway}/shop.v1.Shop/ListOffers`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'connect-timeout-ms': String(deadlineMs) },
    body: JSON.stringify({ productIds }),
  });
  const body = await response.json();
  if (!response.ok) throw new Error(body.message);
  return body;
}

async function show() {
  let notice = '';
  try {
    // protobuf's JSON omits empty fields.
    const { offers = [], outages = [], unreadIds = [] } = await listOffers();
    document.querySelector('#offers').replaceChildren(...offers.map(offerItem));
    if (outages.length > 0) notice = 'Some parts of this page are not available at the moment.';
    if (unreadIds.length > 0) notice += ` Missing products: ${unreadIds.join(', ')}.`;
  } catch (error) {
    notice = `Cannot reach the shop: ${error.message}`;
  }
  document.querySelector('#notice').textContent = notice;
}

function offerItem({ name, description = '', priceMinor = '0', seller }) {
  const item = document.createElement('li');
  const price = (Number(priceMinor) / 100).toFixed(2);
  // 64-bit integers are strings in JSON because JavaScript's numbers have 53 bits.
  item.textContent = `${name}, ${price}`;
  const details = document.createElement('small');
  details.textContent = `${description}. Sold by ${seller?.displayName ?? 'an unknown seller'}.`;
  item.append(details);
  return item;
}

document.querySelector('#again').addEventListener('click', show);
await show();
