//! A bit for each place of a segment, which moves with what stands there.

/// 256 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits([u64; 4]);

impl Bits {
    pub(crate) const NONE: Bits = Bits([0; 4]);

    /// The first `len` bits.
    pub(crate) fn first(len: usize) -> Self {
        let word = |index: usize| match len.saturating_sub(index * 64) {
            0 => 0,
            bits => u64::MAX >> (64 - bits.min(64)),
        };
        Self([word(0), word(1), word(2), word(3)])
    }

    #[inline(always)]
    pub(crate) fn get(&self, place: usize) -> bool {
        self.0[place >> 6 & 3] >> (place & 63) & 1 == 1
    }

    pub(crate) fn set(&mut self, place: usize) {
        self.0[place >> 6 & 3] |= 1 << (place & 63);
    }

    pub(crate) fn union(self, other: Bits) -> Bits {
        Bits(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    pub(crate) fn without(self, other: Bits) -> Bits {
        Bits(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }

    /// Makes room at a place for a bit that is not set: those at it and after move up by one.
    pub(crate) fn insert(&mut self, place: usize) {
        let (word, below) = (place >> 6 & 3, (1u64 << (place & 63)) - 1);
        for index in (word + 1..4).rev() {
            self.0[index] = self.0[index] << 1 | self.0[index - 1] >> 63;
        }
        let held = self.0[word];
        self.0[word] = held & below | (held & !below) << 1;
    }

    /// Takes the bit of a place out: those after move down by one.
    pub(crate) fn remove(&mut self, place: usize) {
        let (word, below) = (place >> 6 & 3, (1u64 << (place & 63)) - 1);
        let held = self.0[word];
        self.0[word] = held & below | held >> 1 & !below;
        for index in word..3 {
            self.0[index] = self.0[index] & u64::MAX >> 1 | self.0[index + 1] << 63;
            self.0[index + 1] >>= 1;
        }
    }

    /// Takes the bits at a place and after out, and returns them from the first place on.
    pub(crate) fn split_off(&mut self, place: usize) -> Bits {
        let below = Bits::first(place);
        let mut upper = Bits::NONE;
        for held in self.without(below).places() {
            upper.set(held - place);
        }
        *self = Bits(std::array::from_fn(|word| self.0[word] & below.0[word]));
        upper
    }

    /// The places whose bit is set, in order.
    pub(crate) fn places(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        let mut word = 0;
        std::iter::from_fn(move || {
            while left[word] == 0 {
                if word == 3 {
                    return None;
                }
                word += 1;
            }
            let bit = left[word].trailing_zeros() as usize;
            left[word] &= left[word] - 1;
            Some(word * 64 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(model: &[bool]) -> Bits {
        let mut bits = Bits::NONE;
        for (place, bit) in model.iter().enumerate() {
            if *bit {
                bits.set(place);
            }
        }
        bits
    }

    proptest! {
        #[test]
        fn bits_move_as_the_elements_of_a_vector_do(
            steps in proptest::collection::vec((0..4u8, 0..256usize), 1..600)
        ) {
            let (mut bits, mut model) = (Bits::NONE, Vec::new());
            for (action, at) in steps {
                match action {
                    0..3 if model.len() < 256 => {
                        let place = at % (model.len() + 1);
                        bits.insert(place);
                        model.insert(place, false);
                        if action > 0 {
                            bits.set(place);
                            model[place] = true;
                        }
                    }
                    _ if !model.is_empty() => {
                        let place = at % model.len();
                        bits.remove(place);
                        model.remove(place);
                    }
                    _ => {}
                }
                prop_assert_eq!(bits, of(&model));
                prop_assert!((0..model.len()).all(|place| bits.get(place) == model[place]));
            }
        }

        #[test]
        fn bits_divide_as_a_vector_does(model in proptest::collection::vec(any::<bool>(), 0..256), at in 0..256usize) {
            let (mut model, mut bits) = (model.clone(), of(&model));
            let at = at.min(model.len());
            prop_assert_eq!(bits.places().collect::<Vec<_>>(), (0..model.len()).filter(|i| model[*i]).collect::<Vec<_>>());
            let first = Bits::first(model.len());
            prop_assert_eq!(first.without(bits).union(bits), first);
            let upper = model.split_off(at);
            prop_assert_eq!(bits.split_off(at), of(&upper));
            prop_assert_eq!(bits, of(&model));
        }
    }
}
