"""Write the README's table of lessons from what the lessons say of themselves: make readme"""

from pathlib import Path

from diffusion_lessons.course.lessons import read_lessons, with_lesson_table

HERE = Path(__file__).parent
README = HERE.parent / "README.md"

if __name__ == "__main__":
    text = with_lesson_table(README.read_text("utf-8"), read_lessons(HERE))
    README.write_text(text, "utf-8")
