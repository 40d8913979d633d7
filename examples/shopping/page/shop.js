/** The page as a client of the gateway: fetch and JSON, no packages, no generated code. */
const deadlineMs = 2000;
// What a page like this would know from its address, or from a search.
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
    // What is empty is not in the JSON of protobuf.
    const { offers = [], outages = [], unreadIds = [] } = await listOffers();
    document.querySelector('#offers').replaceChildren(...offers.map(offerItem));
    if (outages.length > 0) notice = 'Not all of this page could be read just now.';
    if (unreadIds.length > 0) notice += ` Left out: ${unreadIds.join(', ')}.`;
  } catch (error) {
    notice = `The shop does not answer: ${error.message}`;
  }
  document.querySelector('#notice').textContent = notice;
}

function offerItem({ name, description = '', priceMinor = '0', seller }) {
  const item = document.createElement('li');
  const price = (Number(priceMinor) / 100).toFixed(2);
  // 64 bits come as text, as JavaScript's numbers have 53.
  item.textContent = `${name}, ${price}`;
  const details = document.createElement('small');
  details.textContent = `${description}. Sold by ${seller?.displayName ?? 'somebody whose name we cannot read just now'}.`;
  item.append(details);
  return item;
}

document.querySelector('#again').addEventListener('click', show);
await show();
