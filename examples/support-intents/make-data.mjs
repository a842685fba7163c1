// Writes train.jsonl and test.jsonl: questions to the support desk of an invented shop, each with its intent.
// Every intent has its own phrasings; the last three of each occur only in test.jsonl, so the test asks about wordings
// never seen in training. Same seed, same files:  node examples/support-intents/make-data.mjs
import { writeFileSync } from 'node:fs'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'
import { uniformInt } from 'pure-rand/distribution/uniformInt'

const random = xoroshiro128plus(2024)
const pick = (list) => list[uniformInt(random, 0, list.length - 1)]

const fillers = {
  item: [
    'kettle',
    'lamp',
    'pair of boots',
    'headphones',
    'jacket',
    'desk chair',
    'blender',
    'phone case',
    'backpack',
    'coffee grinder',
    'rug',
    'keyboard',
    'tent',
    'raincoat',
    'toaster',
    'bike helmet',
  ],
  when: [
    'yesterday',
    'last week',
    'on Monday',
    'two weeks ago',
    'this morning',
    'a month ago',
    'on the 3rd',
    'before the weekend',
    'three days ago',
  ],
  place: ['Leeds', 'Porto', 'Austin', 'Oslo', 'Lyon', 'Toronto', 'Graz', 'Gdansk', 'Cork'],
  pay: ['credit card', 'debit card', 'bank transfer', 'gift card', 'PayPal'],
  sum: ['12 euros', '40 pounds', '19.99', '75 dollars', '8 euros', '120 dollars'],
  hello: ['', '', '', 'Hi, ', 'Hello, ', 'Good morning, ', 'Hey there, ', 'Dear team, '],
  bye: ['', '', '', ' Thanks!', ' Please help.', ' Thank you.', ' Any ideas?', ' Cheers.'],
}

const intents = {
  track_order: [
    'where is the {item} I ordered {when}?',
    'has my {item} been sent yet?',
    'I want to see where my parcel is right now.',
    'the tracking page for my {item} shows nothing.',
    'when will the {item} arrive in {place}?',
    'it was ordered {when} and still nothing came, where is it?',
    'can you tell me how far my package has got?',
    'is my order already on its way to {place}?',
    'my delivery is late, where has it got to?',
    'which day should I expect the {item}?',
    'could you look up where my parcel is?',
    'no sign of the {item} that was sent {when}.',
    'how do I follow my shipment to {place}?',
  ],
  cancel_order: [
    'please cancel my order for the {item}.',
    'I changed my mind about the {item}, stop the order.',
    'can I still call off what I ordered {when}?',
    "I don't need the {item} any more, cancel it.",
    'how do I cancel before it is sent?',
    'I ordered the {item} by mistake, please undo that.',
    'call off my purchase from {when}.',
    'I would like to withdraw my order.',
    'is it too late to cancel the {item}?',
    'drop the order, I found the {item} elsewhere.',
    'stop my order of the {item}, I no longer want it.',
    'cancel everything I ordered {when}.',
    'please do not send the {item}, I want to cancel.',
  ],
  return_item: [
    'how do I send the {item} back?',
    'I want to return the {item} I bought {when}.',
    'the {item} does not fit, can I return it?',
    'what is the address for returns from {place}?',
    'do I need a label to send the {item} back?',
    'I do not like the {item}, how can I give it back?',
    'can a {item} be returned once opened?',
    'how many days do I have for returning it?',
    'please send me a return label for the {item}.',
    'where do I drop off the {item} that I am returning?',
    'I would like to give back the {item}.',
    'may I return something bought {when}?',
    'what must I do to return my {item}?',
  ],
  refund_status: [
    'when do I get my money back for the {item}?',
    'I sent it back {when} and the refund has not come.',
    'my refund of {sum} is missing.',
    'how long does a refund to my {pay} take?',
    'has the {sum} been refunded yet?',
    'you promised my money back {when}.',
    'still waiting to be paid back for the {item}.',
    'where is my refund?',
    'the refund on my {pay} does not show up.',
    'you owe me {sum} for the returned {item}.',
    'what is the state of my refund from {when}?',
    'I have not received the {sum} back.',
    'how long until the refund arrives?',
  ],
  damaged_item: [
    'the {item} arrived broken.',
    'my {item} has a crack in it.',
    'there is a scratch all over the {item}.',
    'the box was crushed and the {item} is damaged.',
    'the {item} stopped working after a day.',
    'I unpacked the {item} and a part is missing.',
    'what you sent {when} is faulty.',
    'the {item} came in pieces.',
    'my new {item} will not switch on, it is defective.',
    'the {item} is torn on one side.',
    'the {item} was damaged on the way to {place}.',
    'I got a broken {item}.',
    'the {item} from {when} is defective.',
  ],
  wrong_item: [
    'I ordered a {item} and got something else.',
    'you sent the wrong colour of {item}.',
    'this is not the {item} I chose.',
    'the size of the {item} is wrong, I asked for another.',
    "I received someone else's {item}.",
    'there was a different {item} in the parcel.',
    'instead of the {item} there was another product in the box.',
    'the {item} is not the model I picked.',
    'wrong product delivered {when}.',
    'my parcel to {place} held the wrong thing.',
    'you mixed up my order, I got a {item} instead.',
    'this {item} is not what I ordered.',
    'I was sent a different {item} from the one I ordered.',
  ],
  change_address: [
    'I moved to {place}, please change my address.',
    'send my order to another address in {place}.',
    'how do I update where you deliver?',
    'the delivery address of my order is wrong.',
    'can I change the street for my {item}?',
    'I typed the wrong house number {when}.',
    'please deliver to my office in {place} instead.',
    'I need to edit my shipping address.',
    'my postcode is outdated, how do I replace it?',
    'can the {item} go to a new address?',
    'please use my new address in {place}.',
    'how can I correct the address of my order?',
    'I have moved, where do I change my address?',
  ],
  payment_failed: [
    'my {pay} was declined.',
    'the payment for the {item} does not go through.',
    'I tried to pay by {pay} and got an error.',
    'checkout says my {pay} is not accepted.',
    'why was my payment refused {when}?',
    'I cannot pay for the {item}.',
    'the page hangs when I pay by {pay}.',
    'payment of {sum} failed twice.',
    'it rejects my {pay} every time.',
    'the {pay} works elsewhere but you decline it.',
    'paying by {pay} fails.',
    'your shop refuses my {pay}.',
    'my payment failed at the checkout.',
  ],
  charged_twice: [
    'I was charged twice for the {item}.',
    'there are two payments of {sum} on my {pay}.',
    'you took the money double.',
    'my bank shows the same {sum} two times.',
    'why did I pay {sum} twice {when}?',
    'a duplicate charge appeared on my {pay}.',
    'one {item}, but two charges.',
    'you billed my {pay} two times.',
    'please reverse the second charge of {sum}.',
    'my statement lists the {item} twice.',
    'I see a double charge of {sum}.',
    'you charged my {pay} two times {when}.',
    'the same payment was taken twice.',
  ],
  discount_code: [
    'my voucher does not work.',
    'where do I enter a discount code?',
    'the promo code for the {item} is rejected.',
    'the coupon I got {when} has expired already.',
    'can I use two vouchers together?',
    'I forgot to use my code for {sum} off.',
    'the discount was not applied to the {item}.',
    'is there a coupon for new customers?',
    'do you have a student discount on the {item}?',
    'the checkout ignores my promo code.',
    'my discount code is not accepted.',
    'how can I use a coupon for the {item}?',
    'the voucher of {sum} is not taken off.',
  ],
  reset_password: [
    'I forgot my password.',
    'how do I reset my login?',
    'I cannot log in any more since {when}.',
    'the reset email never comes.',
    'my account is locked after too many tries.',
    'please send me a new password.',
    'the link to reset my password has expired.',
    'it says my password is wrong.',
    'I am locked out of my account.',
    'how can I choose a new password?',
    'I cannot remember my password, what now?',
    'signing in does not work, I need a new password.',
    'my login stopped working {when}.',
  ],
  opening_hours: [
    'when is the shop in {place} open?',
    'are you open on Sunday?',
    'what time do you close in {place}?',
    'is the {place} store open on holidays?',
    'until when can I call you today?',
    'what are the opening times in {place}?',
    'how early do you open?',
    'is someone there at lunch time?',
    'do you close early before the weekend?',
    'when does the phone line open?',
    'what are your opening hours?',
    'are you open late in {place}?',
    'at what time does the {place} shop open?',
  ],
}

const fill = (phrase) => phrase.replace(/\{(\w+)\}/g, (_, name) => pick(fillers[name]))
function sentence(phrase) {
  const text = `${pick(fillers.hello)}${fill(phrase)}${pick(fillers.bye)}`
  return text[0].toUpperCase() + text.slice(1)
}

/** `count` different texts per intent from the given phrasings, shuffled. */
function write(file, count, phrasingsOf) {
  const seen = new Set()
  const lines = []
  for (const [label, phrases] of Object.entries(intents)) {
    const chosen = phrasingsOf(phrases)
    for (let made = 0; made < count; ) {
      const text = sentence(pick(chosen))
      if (seen.has(text)) continue
      seen.add(text)
      lines.push(JSON.stringify({ text, label }))
      made++
    }
  }
  for (let i = lines.length - 1; i > 0; i--) {
    const j = uniformInt(random, 0, i)
    ;[lines[i], lines[j]] = [lines[j], lines[i]]
  }
  writeFileSync(new URL(file, import.meta.url), `${lines.join('\n')}\n`)
}

write('train.jsonl', 100, (phrases) => phrases.slice(0, -3))
write('test.jsonl', 25, (phrases) => phrases.slice(-3))
