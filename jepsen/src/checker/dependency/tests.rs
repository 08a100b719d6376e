mod random;
mod scripts;
mod speed;
